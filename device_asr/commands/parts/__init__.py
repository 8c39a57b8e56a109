"""Parts that verbs share: options, progress on a terminal, outputs."""
