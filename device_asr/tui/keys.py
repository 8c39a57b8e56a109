"""The keys: one table for the footer, the command palette, the help screen and rebinding."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from textual.binding import Binding
from textual.keys import Keys, key_to_character

from device_asr.errors import UsageError

KEYS = [
    Binding("space", "pause", "Pause", id="pause", tooltip="Stop listening, or go on"),
    Binding("m", "mute", "Mute", id="mute", tooltip="Feed silence instead of audio"),
    Binding("c", "copy", "Copy", id="copy", tooltip="Copy the selection, the chosen line or all (OSC 52)"),
    Binding("s", "save", "Save", id="save", tooltip="Save as txt, srt, vtt or jsonl"),
    Binding("n", "new", "New", id="new", tooltip="Finish the utterance and begin a new session"),
    Binding("d", "device", "Mic", id="device", tooltip="Choose the microphone"),
    Binding("t", "theme", "Theme", id="theme", tooltip="Light or dark"),
    Binding("question_mark", "help", "Help", id="help", key_display="?", tooltip="Keys and read-outs"),
    Binding("q", "quit", "Quit", id="quit", tooltip="Finish the utterance and leave"),
    Binding("ctrl+c", "quit", "Quit", id="interrupt", show=False, priority=True),
]
MODIFIERS = {"ctrl", "shift", "alt", "super"}
# what the transcript and the command palette listen to
TAKEN = {
    "up": "scroll",
    "down": "scroll",
    "pageup": "scroll",
    "pagedown": "scroll",
    "home": "scroll",
    "end": "scroll",
    "shift+up": "choose a line",
    "shift+down": "choose a line",
    "enter": "edit a line",
    "escape": "choose no line",
    "ctrl+p": "open the command palette",
}
CHARACTERS = {",": "comma", " ": "space", "+": "plus"}  # that a key's text cannot hold
_NAMED = sorted({key.value for key in Keys if key.value.replace("+", "").replace("_", "").isalnum()})


def keymap(keys: Mapping[str, str]) -> dict[str, str]:
    """`interface.keys` in the toolkit's names (`?` is `question_mark`), for `App.set_keymap`.

    Raises:
        UsageError: an action or a key that there is not, with the nearest; a key that would have two meanings.
    """
    known = [binding.id or "" for binding in KEYS]
    named: dict[str, list[str]] = {}
    for action, text in keys.items():
        if action not in known:
            raise UsageError(
                f"interface.keys: wanted an action of {', '.join(known)}, found {action!r}; "
                f"the nearest is {_nearest(action, known)!r}."
            )
        named[action] = [_named(action, part) for part in _parts(text)]
        if not named[action]:
            raise UsageError(f'interface.keys.{action}: wanted a key, such as "f2", found {text!r}.')
    owners = dict(TAKEN)
    for binding in KEYS:
        for key in named.get(binding.id or "", [binding.key]):
            if key in owners:
                raise UsageError(
                    f"interface.keys: {key!r} is wanted for {binding.id!r} and already means: "
                    f"{owners[key]}; give each its own key."
                )
            owners[key] = binding.id or ""
    return {action: ",".join(own) for action, own in named.items()}


def _parts(text: str) -> list[str]:
    """Keys are divided by commas; one character alone is that key."""
    return [text] if text in CHARACTERS else [part.strip() for part in text.split(",") if part.strip()]


def _named(action: str, key: str) -> str:
    if key in CHARACTERS:
        return CHARACTERS[key]
    (binding,) = Binding.make_bindings([Binding(key, action)])
    *modifiers, base = binding.key.split("+")
    known = len(key) == 1 or base in _NAMED or base in CHARACTERS.values() or key_to_character(base) is not None
    if set(modifiers) <= MODIFIERS and known:
        return binding.key
    raise UsageError(
        f'interface.keys.{action}: wanted a key, such as "f2" or "ctrl+k", found {key!r}; '
        f"the nearest is {_nearest(key, _NAMED)!r}."
    )


def _nearest(wanted: str, known: list[str]) -> str:
    return difflib.get_close_matches(wanted, known, 1, cutoff=0.0)[0]
