"""Custom words."""
