"""A live session, and what is kept of it."""
