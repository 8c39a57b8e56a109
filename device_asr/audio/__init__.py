"""Sound: where it comes from, and in what form."""
