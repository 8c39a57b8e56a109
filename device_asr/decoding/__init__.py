"""Decodes encoded audio into tokens."""
