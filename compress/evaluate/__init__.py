"""Accuracy of networks."""
