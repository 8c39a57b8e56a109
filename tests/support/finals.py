"""Finals as a recognizer makes them."""

from __future__ import annotations

from device_asr.events import Final, Word


def final(text: str, start: float, end: float, utterance: int = 0) -> Final:
    words = text.split()
    step = (end - start) / max(1, len(words))
    timed = tuple(Word(w, start + i * step, start + (i + 1) * step, 0.9) for i, w in enumerate(words))
    return Final(utterance, text, start, end, end + 0.6, timed, 0.9)
