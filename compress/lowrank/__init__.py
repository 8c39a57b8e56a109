"""Layers as products of two."""
