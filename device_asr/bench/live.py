"""A corpus in real time through the live session, on the wall clock: from files, or through a microphone.

The recognizer runs in its own process, as in the interface, and is loaded before the first audio. An
utterance belongs to the clip that was playing when it began.
"""

from __future__ import annotations

import bisect
import multiprocessing
import queue
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from device_asr.audio.file import FileSource
from device_asr.audio.format import SAMPLE_RATE
from device_asr.audio.live_source import LiveSource
from device_asr.audio.microphone import MicrophoneSource
from device_asr.audio.realtime import RealtimeSource
from device_asr.audio.source import AudioChunk
from device_asr.bench.memory import peak_memory
from device_asr.bench.promises import broken
from device_asr.bench.run import ClipResult, Corpus, Recognized
from device_asr.config import Config
from device_asr.dictation.session import Delivery, LiveSession, Notice
from device_asr.errors import DeviceAsrError
from device_asr.events import Event, Failed, Final, Seconds
from device_asr.metrics.clips import Clip
from device_asr.metrics.latency import LatencyMeter
from device_asr.recognition.protocol import Recognizer

POLL: Seconds = 0.1
STOPPING: Seconds = 60.0
EARLY: Seconds = 0.5  # an onset may be drawn this far into the silence before its clip; the tail is longer


class Playlist:
    """Clips in a row, each followed by `tail` seconds of silence; `starts` has the second at which each began.

    Raises:
        AudioError: while iterating, a clip that cannot be read.
    """

    name = "files"

    def __init__(self, clips: Sequence[Clip], tail: Seconds) -> None:
        self._clips, self._tail = clips, tail
        self.starts: list[Seconds] = []

    def __iter__(self) -> Iterator[AudioChunk]:
        samples = 0
        for clip in self._clips:
            self.starts.append(samples / SAMPLE_RATE)
            silence = np.zeros(int(self._tail * SAMPLE_RATE), np.float32)
            for pcm in (*(chunk.pcm for chunk in FileSource(clip.audio)), silence):
                yield AudioChunk(pcm, samples / SAMPLE_RATE, time.monotonic())
                samples += pcm.size

    def close(self) -> None:
        """Nothing stays open."""


@dataclass
class LiveRun:
    """The cost of a session in real time.

    wall: seconds it lasted. cpu: seconds of processor time, of this process and the recognizer's.
    peak_memory: bytes, both processes. backlog: seconds of audio waiting at most.
    overflows, lost: pieces of audio lost and their seconds.
    """

    device: str = ""
    wall: Seconds = 0.0
    cpu: Seconds = 0.0
    peak_memory: int | None = None
    backlog: Seconds = 0.0
    overflows: int = 0
    lost: Seconds = 0.0


def realtime_record(runs: Sequence[LiveRun], device: str) -> dict[str, Any]:
    """The entry `realtime` of the benchmark's record, over all runs."""
    wall = sum(run.wall for run in runs)
    return {
        "device": device,
        "wall_s": wall,
        "cpu": sum(run.cpu for run in runs) / wall,
        "backlog_max_s": max(run.backlog for run in runs),
        "overflows": sum(run.overflows for run in runs),
        "lost_s": sum(run.lost for run in runs),
    }


@dataclass
class Recorder:
    """Takes a session's deliveries, feeds the meter, samples the cost of the session."""

    session: LiveSession
    deliveries: queue.SimpleQueue[Delivery]
    meter: LatencyMeter
    began: Seconds  # `time.monotonic()` just before the session started to play
    events: list[Event] = field(default_factory=list)
    run: LiveRun = field(default_factory=LiveRun)

    def __post_init__(self) -> None:
        self._processes = [psutil.Process(), *(psutil.Process(p.pid) for p in multiprocessing.active_children())]
        self._cpu = self._processor_time()

    def _processor_time(self) -> Seconds:
        return sum(times.user + times.system for times in (process.cpu_times() for process in self._processes))

    def sample(self) -> None:
        """Reads the cost so far; a process that has just ended keeps the figures of the sample before."""
        state, run = self.session.state, self.run
        run.device, run.overflows, run.lost = state.device, state.overflows, state.lost
        run.backlog, run.wall = max(run.backlog, state.backlog), time.monotonic() - self.began
        try:
            run.cpu = self._processor_time() - self._cpu
            peaks = [peak_memory(), *(peak_memory(process.pid) for process in self._processes[1:])]
        except psutil.NoSuchProcess:
            return
        known = [peak for peak in peaks if peak is not None]
        if len(known) == len(peaks):
            run.peak_memory = sum(known)

    def drain(self) -> None:
        """Takes the deliveries so far.

        Raises:
            DeviceAsrError: the session failed, or the recognizer died and was started again.
        """
        self.sample()
        while not self.deliveries.empty():
            delivery = self.deliveries.get()
            event = delivery.event
            if isinstance(event, Failed):
                raise DeviceAsrError(event.message)
            if isinstance(event, Notice):
                if event.kind == "recognizer_died":  # loading and recognizing again would be measured as speed
                    raise DeviceAsrError(f"{event.message} What was measured is void; measure again.")
            else:
                self.events.append(event)
                self.meter.add(event, delivery.wall, cut_short=delivery.cut_short)

    def follow(self, done: Callable[[], bool]) -> None:
        """Drains until `done`, or the session ends."""
        while True:
            ended = self.session.wait(0) or done()
            self.drain()
            if ended:
                return
            time.sleep(POLL)

    def follow_for(self, seconds: Seconds) -> None:
        """Drains for so long, or until the session ends."""
        end = time.monotonic() + seconds
        self.follow(lambda: time.monotonic() >= end)


def recognize_live(
    source: LiveSource, recognizer: Recognizer, config: Config, corpus: Corpus, play: Callable[[Recorder], None]
) -> tuple[list[Event], LiveRun]:
    """Runs a session while `play` plays; counts latencies into a new meter of `corpus`.

    Raises:
        DeviceAsrError: the session failed.
    """
    deliveries: queue.SimpleQueue[Delivery] = queue.SimpleQueue()
    session = LiveSession(source, lambda: recognizer, config, deliveries.put)
    corpus.latency = LatencyMeter(session.wall_time, keep=None)
    began = time.monotonic()
    session.start()
    recorder = Recorder(session, deliveries, corpus.latency, began)
    try:
        play(recorder)
        recorder.sample()
        session.stop(timeout=STOPPING)
        recorder.drain()
    finally:
        session.abort()
        session.wait(STOPPING)
    corpus.audio, corpus.compute = session.state.elapsed, session.state.compute
    corpus.broken = replace(broken(recorder.events), sound=recorder.run.lost)
    return recorder.events, recorder.run


def share_out(clips: Sequence[Clip], starts: Sequence[Seconds], events: Sequence[Event]) -> list[ClipResult]:
    """The Finals of each clip, by the time at which the utterance began; other events are left out."""
    found: list[list[Final]] = [[] for _ in clips]
    for event in events:
        if isinstance(event, Final) and clips:
            found[max(0, bisect.bisect_right(starts, event.start + EARLY) - 1)].append(event)
    return [
        ClipResult(clip, Recognized(_seconds(clip), sum(e.compute for e in own), tuple(own), len(own)))
        for clip, own in zip(clips, found, strict=True)
    ]


def _seconds(clip: Clip) -> Seconds:
    source = FileSource(clip.audio)
    source.close()
    return source.seconds


def files_live(clips: Sequence[Clip], recognizer: Recognizer, config: Config, corpus: Corpus, tail: Seconds) -> LiveRun:
    """Plays clips in real time, as if someone were speaking now."""
    playlist = Playlist(clips, tail)
    events, run = recognize_live(
        RealtimeSource(playlist), recognizer, config, corpus, lambda recorder: recorder.follow(lambda: False)
    )
    corpus.results = share_out(clips, playlist.starts, events)
    return run


def microphone_live(
    clips: Sequence[Clip], recognizer: Recognizer, config: Config, corpus: Corpus, tail: Seconds, player: Sequence[str]
) -> LiveRun:
    """Recognizes clips through the microphone while `player` plays them.

    Args:
        player: a command, to which the path of the audio is added.

    Raises:
        DeviceError: no such microphone.
        DeviceAsrError: the player failed.
    """
    starts: list[Seconds] = []

    def play(recorder: Recorder) -> None:
        for clip in clips:
            recorder.follow_for(tail)
            starts.append(recorder.session.state.elapsed)
            _play(player, clip.audio, recorder)
        recorder.follow_for(tail + EARLY)

    events, run = recognize_live(MicrophoneSource(config.audio), recognizer, config, corpus, play)
    corpus.results = share_out(clips, starts, events)
    return run


def _play(player: Sequence[str], audio: Path, recorder: Recorder) -> None:
    try:
        process = subprocess.Popen(
            [*player, str(audio)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
    except OSError as error:
        raise DeviceAsrError(
            f"--player: {player[0]} cannot be run ({error.strerror}); wanted a command that "
            "plays the audio file whose path is added to it."
        ) from None
    try:
        recorder.follow(lambda: process.poll() is not None)
    finally:
        process.kill()
        process.wait()
    if process.returncode:
        raise DeviceAsrError(
            f"--player: {player[0]} ended with exit code {process.returncode} on {audio}; try the command by hand."
        )


def listen_live(seconds: Seconds | None, recognizer: Recognizer, config: Config, corpus: Corpus) -> LiveRun:
    """Recognizes the microphone for `seconds`, or until Ctrl-C; there is no text to compare with."""

    def play(recorder: Recorder) -> None:
        try:
            recorder.follow_for(float("inf") if seconds is None else seconds)
        except KeyboardInterrupt:
            if seconds is not None:
                raise

    _, run = recognize_live(MicrophoneSource(config.audio), recognizer, config, corpus, play)
    return run
