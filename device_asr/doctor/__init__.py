"""Whether live dictation will keep up on this machine, and what stands in its way."""
