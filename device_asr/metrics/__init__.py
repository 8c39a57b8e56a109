"""Metrics: latency, word errors, and the clips of a corpus."""
