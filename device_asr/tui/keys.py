"""The keys: one table for the footer, the command palette, the help screen and rebinding."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from textual.binding import Binding

from device_asr.errors import UsageError

BINDINGS = [
    Binding("space", "pause", "Pause", id="pause", tooltip="Stop listening, or go on"),
    Binding("m", "mute", "Mute", id="mute", tooltip="Feed silence instead of sound"),
    Binding("c", "copy", "Copy", id="copy", tooltip="Copy the selection or everything (OSC 52)"),
    Binding("s", "save", "Save", id="save", tooltip="Save as txt, srt, vtt or jsonl"),
    Binding("n", "new", "New", id="new", tooltip="Begin a new session"),
    Binding("d", "device", "Mic", id="device", tooltip="Choose the microphone"),
    Binding("t", "theme", "Theme", id="theme", tooltip="Light or dark"),
    Binding("question_mark", "help", "Help", id="help", key_display="?", tooltip="Keys and read-outs"),
    Binding("q", "quit", "Quit", id="quit", tooltip="Finish the phrase and leave"),
    Binding("ctrl+c", "quit", "Quit", id="interrupt", show=False, priority=True),
]


def check_keys(keys: Mapping[str, str]) -> None:
    """Whether `interface.keys` names actions that there are.

    Raises:
        UsageError: it does not; the sentence names the nearest one.
    """
    known = [binding.id or "" for binding in BINDINGS]
    for action in keys:
        if action not in known:
            near = difflib.get_close_matches(action, known, 1, cutoff=0.0)[0]
            raise UsageError(f"interface.keys: wanted an action of {', '.join(known)}, found {action!r}; "
                             f"the nearest is {near!r}.")
