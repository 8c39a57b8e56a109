"""Few bits for weights."""
