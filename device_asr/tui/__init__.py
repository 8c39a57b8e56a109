"""The terminal interface: what is shown of a live session, and the keys that steer it."""
