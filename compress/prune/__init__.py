"""Removing weights, channels, heads, layers and tokens."""
