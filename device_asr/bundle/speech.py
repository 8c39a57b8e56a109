"""Speech: what the manifest says of the speech program, with the values that older bundles leave unsaid.

The optional keys came with networks other than Whisper; a manifest without them means what held for Whisper.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from device_asr.audio.format import SAMPLE_RATE
from device_asr.events import Seconds

EndFirst = Literal["free", "silence"]
END_FIRST: tuple[EndFirst, ...] = get_args(EndFirst)


@dataclass(frozen=True, slots=True)
class Speech:
    """The limits and habits of a speech program.

    samples_per_position: of audio at 16 kHz. positions: most of an utterance.
    cache: tokens that fit. tokens_per_call: most tokens of one call of `decode`.
    tokens_per_second: a text with more tokens for a second of audio is a loop.
    retry_silence: seconds of silence behind an utterance whose text looped and which is decoded once more; 0: it is
        not, because silence makes the network's text worse.
    end_first: whether a text may be empty. "free": wherever the end token is the likeliest (unless the vocabulary
        suppresses it there); "silence": only where the voice activity detector found no speech, for networks that
        give clear utterances no text now and then.
    """

    samples_per_position: int
    positions: int
    cache: int
    tokens_per_call: int
    tokens_per_second: float = 12.0
    retry_silence: Seconds = 4.0
    end_first: EndFirst = "free"

    @property
    def position_s(self) -> Seconds:
        """Seconds of audio of one position."""
        return self.samples_per_position / SAMPLE_RATE

    @property
    def longest(self) -> Seconds:
        """Seconds of audio that an utterance has at most."""
        return self.positions * self.samples_per_position / SAMPLE_RATE


def read_speech(manifest: Mapping[str, Any]) -> Speech:
    """The entry `speech` of a manifest in the newest format."""
    entry = manifest["speech"]
    return Speech(**{name: entry[name] for name in Speech.__dataclass_fields__ if name in entry})
