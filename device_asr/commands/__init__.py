"""The verbs of `device-asr`, a module each; loaded only when called."""
