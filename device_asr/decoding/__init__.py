"""From encoded audio to tokens."""
