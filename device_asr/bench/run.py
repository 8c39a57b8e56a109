"""A corpus through the streaming recognizer on the audio clock, as fast as it goes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter, sleep

import numpy as np

from device_asr.audio.file import FileSource
from device_asr.audio.format import SAMPLE_RATE, STEP
from device_asr.bench.peers.process import Peer, PeerResult
from device_asr.bench.promises import Broken, broken
from device_asr.events import Event, Final, Partial, Seconds, Word
from device_asr.hotwords.words import Hotword
from device_asr.metrics.clips import Clip
from device_asr.metrics.latency import LatencyMeter
from device_asr.recognition.protocol import Recognizer

SETTLE: Seconds = 0.25  # threads of OpenMP spin for 200 ms after the work, which must not slow the other side


def read_audio(path: Path) -> np.ndarray:
    """A whole audio file in memory, (n,) float32, 16 kHz mono, so that reading it is not timed.

    Raises:
        AudioError: it cannot be read.
    """
    return np.concatenate([np.zeros(0, np.float32), *(chunk.pcm for chunk in FileSource(path))])


@dataclass(frozen=True, slots=True)
class Recognized:
    """The events of the recognizer for one audio file.

    seconds: length of the audio, tail left out. compute: seconds in `feed` and `finish`, tail included.
    events: in order; those from index `cut` on came from `finish`. origin: the recognizer's audio clock at the file's
    beginning; None in real time, where it is not known.
    """

    seconds: Seconds
    compute: Seconds
    events: tuple[Event, ...]
    cut: int
    origin: Seconds | None = None

    @property
    def finals(self) -> list[Final]:
        """The finished utterances."""
        return [event for event in self.events if isinstance(event, Final)]

    @property
    def partials(self) -> list[Partial]:
        """The texts that were shown while utterances went on."""
        return [event for event in self.events if isinstance(event, Partial)]

    @property
    def text(self) -> str:
        """The texts of all finals in a row."""
        return " ".join(final.text for final in self.finals)

    @property
    def words(self) -> list[Word]:
        """The words of all finals in a row, their times from the file's beginning on."""
        origin = self.origin or 0.0
        return [
            replace(word, start=word.start - origin, end=word.end - origin)
            for final in self.finals
            for word in final.words
        ]

    @property
    def partial_text(self) -> str:
        """The texts of the last partial before each final, in a row."""
        shown = {partial.utterance: partial.text for partial in self.partials}
        return " ".join(shown[final.utterance] for final in self.finals if final.utterance in shown)


def recognize(recognizer: Recognizer, pcm: np.ndarray, tail: Seconds) -> Recognized:
    """Feeds `pcm` and `tail` seconds of silence in chunks of 32 ms, then finishes."""
    audio = np.concatenate([pcm, np.zeros(int(tail * SAMPLE_RATE), np.float32)])
    events: list[Event] = []
    origin = recognizer.time
    began = perf_counter()
    for at in range(0, len(audio), STEP):
        events += recognizer.feed(audio[at : at + STEP])
    cut = len(events)
    events += recognizer.finish()
    return Recognized(len(pcm) / SAMPLE_RATE, perf_counter() - began, tuple(events), cut, origin)


@dataclass(frozen=True, slots=True)
class ClipResult:
    """One clip, as the recognizer and each peer, by name, recognized it."""

    clip: Clip
    recognized: Recognized
    peers: Mapping[str, PeerResult] = field(default_factory=dict)


@dataclass
class Corpus:
    """Results of one manifest, with the latencies over all its clips.

    audio: seconds of audio. compute: seconds of computation on them: voice activity, partials, finals.
    teacher: the teacher's text of each clip, None where it was not asked.
    custom: the custom words that were favored. plain: each clip recognized without them, where there are any.
    against: the same clips with the other settings, where there are any.
    broken: what was lost in real time; None: on the audio clock, where each clip's events tell it.
    """

    manifest: str
    latency: LatencyMeter = field(default_factory=lambda: LatencyMeter(keep=None))
    results: list[ClipResult] = field(default_factory=list)
    audio: Seconds = 0.0
    compute: Seconds = 0.0
    teacher: list[str] | None = None
    custom: Sequence[Hotword] = ()
    plain: list[Recognized] = field(default_factory=list)
    against: Corpus | None = None
    broken: Broken | None = None

    def add(self, result: ClipResult) -> None:
        """Appends a clip that was recognized on the audio clock, and counts its events."""
        self.results.append(result)
        self.audio += result.recognized.seconds
        self.compute += result.recognized.compute
        for index, event in enumerate(result.recognized.events):
            self.latency.add(event, cut_short=index >= result.recognized.cut)

    @property
    def lost(self) -> Broken:
        """What was lost of sound and finals."""
        if self.broken is not None:
            return self.broken
        return sum((broken(result.recognized.events) for result in self.results), Broken())

    @property
    def peers(self) -> list[str]:
        """Names of the peers that recognized the clips too."""
        return list(self.results[0].peers) if self.results else []


def measure(
    recognizer: Recognizer, clips: Sequence[Clip], tail: Seconds, peers: Sequence[Peer] = ()
) -> Iterator[ClipResult]:
    """Runs the recognizer and the peers in turn on each clip; the one that begins changes from clip to clip.

    A first run of each on the first clip is not counted.

    Raises:
        AudioError: a clip cannot be read.
        DeviceAsrError: a peer's process failed.
    """
    settle = SETTLE if peers else 0.0

    def ours() -> Recognized:
        found = recognize(recognizer, pcm, tail)
        sleep(settle)
        return found

    def of(peer: Peer) -> PeerResult:
        result = peer.transcribe(pcm)
        sleep(settle)
        return result

    for index, clip in enumerate(clips):
        pcm = read_audio(clip.audio)
        if index == 0:
            ours(), [of(peer) for peer in peers]
        at = (index - 1) % (len(peers) + 1)  # of the peer that begins; as many as there are: ours
        found = {peer.name: of(peer) for peer in peers[at:]}
        recognized = ours()
        found |= {peer.name: of(peer) for peer in peers[:at]}
        yield ClipResult(clip, recognized, {peer.name: found[peer.name] for peer in peers})
