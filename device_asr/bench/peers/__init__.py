"""Peers: other recognizers that run beside ours on the same clips, each in a process of its own."""
