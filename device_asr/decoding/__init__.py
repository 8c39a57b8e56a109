"""From encoded sound to tokens."""
