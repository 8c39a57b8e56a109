"""Runs programs: the only room that knows what executes them."""
