"""Dialogs over the interface."""
