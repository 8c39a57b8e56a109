"""The parts of the interface's screen."""
