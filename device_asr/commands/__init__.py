"""The verbs of `device-asr`: one module a verb, loaded when it is called; `parts` has what they share."""
