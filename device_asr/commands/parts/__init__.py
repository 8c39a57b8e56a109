"""Parts of which verbs are made: options, progress on a terminal, outputs."""
