"""The streaming recognizer."""
