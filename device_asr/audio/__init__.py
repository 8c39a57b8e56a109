"""Audio: its sources and its form."""
