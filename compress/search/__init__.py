"""The search for a model that a device holds."""
