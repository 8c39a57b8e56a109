"""Recipes, and how they are built."""
