"""The recognizer with a model that truly streams: a tiny random network, real audio, real endpointing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from device_asr.audio.format import STEP, STEP_S
from device_asr.bundle.symbols import SYMBOLS
from device_asr.config import Config
from device_asr.config import load as load_config
from device_asr.errors import UsageError
from device_asr.events import Event, Final, Partial, SpeechEnded, SpeechStarted
from device_asr.recognition.assemble import assemble
from device_asr.recognition.recognizer import StreamingRecognizer
from device_asr.recognition.stream_encoder import StreamEncoder
from tests.support.paths import ASSETS
from tests.support.tiny_network import CHUNKING, SECOND

TIMER = ASSETS / "timer.flac"
PREROLL = 10 * STEP  # 300 ms in whole frames
CHUNK = 320 * CHUNKING.size


def silence(seconds: float) -> np.ndarray:
    return np.zeros(int(seconds * SECOND), np.float32)


def said() -> np.ndarray:
    """Speech with enough silence behind it for the utterance to end by itself."""
    return np.concatenate([silence(0.5), soundfile.read(TIMER, dtype="float32")[0], silence(1.5)])


def going_on() -> np.ndarray:
    """The same twice, the second time a little quieter."""
    clip = soundfile.read(TIMER, dtype="float32")[0]
    return np.concatenate([silence(0.5), clip, 0.7 * clip, clip, silence(1.5)])


class Noting(StreamEncoder):
    """Remembers the audio of each stream, the silence of `end` left out."""

    def __init__(self, method: Mapping[str, Any], session: Any, capacity: int) -> None:
        super().__init__(method, session, capacity)
        self.streams: list[list[np.ndarray]] = []

    def begin(self, audio: np.ndarray) -> None:
        self.streams.append([])
        super().begin(audio)

    def feed(self, frame: np.ndarray) -> None:
        self.streams[-1].append(frame.copy())
        super().feed(frame)

    def end(self) -> None:
        pieces = list(self.streams[-1])
        super().end()
        self.streams[-1] = pieces


class Scored:
    """The real session, but the symbols of its CTC head are given, by frames counted from the stream's beginning."""

    def __init__(self, session: object, symbols: Callable[[int], str]) -> None:
        self._session, self._symbols = session, symbols

    def run(self, method: str, *arrays: np.ndarray) -> list[np.ndarray]:
        outputs = self._session.run(method, *arrays)
        scores = np.zeros_like(outputs[0])
        for row, frame in zip(scores, range(int(arrays[1][0]), int(arrays[1][0]) + len(scores)), strict=True):
            symbol = self._symbols(frame)
            row[SYMBOLS.index(symbol) + 1 if symbol else 0] = 1.0
        return [scores, *outputs[1:]]


class Made:
    """A recognizer with its encoder, and what it made of an audio file."""

    def __init__(self, bundle: Path, symbols: Callable[[int], str] | None = None, **flags: object) -> None:
        named = {key.replace("__", "."): value for key, value in flags.items()}
        self.config: Config = load_config(
            environ={},
            flags={
                "model.name": str(bundle),
                "model.threads": 1,
                "partial.interval_ms": 96,
                "decoding.guards": False,
                **named,
            },
        ).config  # random words come again and again
        self.recognizer = assemble(
            self.config,
            wrap_stream=(lambda session: Scored(session, symbols)) if symbols else None,
            make_encoder=self._noting,
        )

    def _noting(self, method: Mapping[str, Any], session: Any, capacity: int) -> Noting:
        self.encoder = Noting(method, session, capacity)
        return self.encoder

    def switch_partials_off(self) -> None:
        """The same parts with the setting that shows no partials; by itself it would leave the stream out too."""
        made, partial = self.recognizer, replace(self.config.partial, enabled=False)
        self.config = replace(self.config, partial=partial)
        self.recognizer = StreamingRecognizer(made._detector, made._decoder, made._encoder, made._policy, self.config)

    def recognize(self, pcm: np.ndarray, cuts: Sequence[int] = ()) -> list[Event]:
        events = [event for piece in np.split(pcm, sorted(cuts)) for event in self.recognizer.feed(piece)]
        return events + self.recognizer.finish()

    def streamed(self) -> list[np.ndarray]:
        """The audio of each utterance's stream."""
        return [np.concatenate(pieces) for pieces in self.encoder.streams]


def of(kind: type, events: Sequence[Event]) -> list:
    return [event for event in events if isinstance(event, kind)]


@pytest.mark.parametrize("mode", ["full", "stream"])
@settings(max_examples=6, deadline=None)
@given(data=st.data())
def test_the_same_events_whatever_the_chunking(data: st.DataObject, bundle: Path, mode: str) -> None:
    pcm = said()
    at_once = Made(bundle, final__mode=mode).recognize(pcm)
    assert of(Partial, at_once) and of(Final, at_once)
    cuts = data.draw(st.lists(st.integers(0, len(pcm)), max_size=40))
    assert Made(bundle, final__mode=mode).recognize(pcm, cuts) == at_once


def test_the_utterance_ends_by_itself_and_partials_come_chunk_by_chunk(bundle: Path) -> None:
    made = Made(bundle, lambda frame: "ab"[frame % 2] if frame < 100 else "", partial__holdback_ms=100)
    events = made.recognize(said())
    assert [type(e) for e in events if not isinstance(e, Partial)] == [SpeechStarted, Final, SpeechEnded]
    (final,) = of(Final, events)
    assert final.time < len(said()) / SECOND - 0.3
    start = final.start - PREROLL / SECOND
    chunks = [round((partial.time - start) * SECOND) // CHUNK for partial in of(Partial, events)]
    assert len(chunks) > 5 and chunks == sorted(set(chunks)), "an update for a chunk, none between"


def test_updates_come_with_the_chunk_nearest_to_the_interval(bundle: Path) -> None:
    """The first with the first symbols, however long the interval, and each half of a chunk until a word is shown."""
    made = Made(bundle, lambda frame: "ab"[frame % 2] if frame > 20 else "", partial__interval_ms=480)
    sought: list[float] = []
    empty: list[float] = []
    update = made.recognizer._policy.update

    def noted(*given: object) -> object:
        shown = update(*given)
        (sought if shown or sought else empty).append(made.encoder.positions * 0.02)
        return shown

    made.recognizer._policy.update = noted
    made.recognize(said())
    chunk = CHUNKING.size * 0.02
    first = [*empty, sought[0]]
    assert 0 <= first[0] - 0.42 <= chunk / 2 + STEP_S
    assert all(0 < step <= chunk / 2 + STEP_S for step in np.diff(first)), first
    apart = np.diff(sought)
    assert len(apart) > 3 and np.all(np.abs(apart - 0.48) <= chunk / 2 + STEP_S), apart


def test_the_decoder_is_not_asked_where_ctc_emits_nothing_new(bundle: Path) -> None:
    """Once when there is a symbol, and once when its frames have had their look-ahead."""
    made = Made(bundle, lambda frame: "a" if frame == 20 else "")
    assert len(of(Partial, made.recognize(said()))) <= 2


def test_finals_of_the_stream_are_decoded_from_its_positions(bundle: Path) -> None:
    """The text is that of a fresh stream over the utterance's audio, without a bias."""
    made = Made(bundle, final__mode="stream", final__partial_bias_nats=0)
    pcm = said()
    (final,) = of(Final, made.recognize(pcm))
    fresh = Made(bundle)
    first, last = round(final.start * SECOND) - PREROLL, round(final.time * SECOND)
    fresh.encoder.begin(pcm[first:last])
    fresh.encoder.end()
    decoder = fresh.recognizer._decoder
    wanted = decoder.decode(fresh.encoder.encoded(last - first))
    assert final.text == decoder.vocabulary.decode(wanted.tokens).strip()
    assert " ".join(word.text for word in final.words) == final.text
    assert all(first / SECOND <= word.start <= word.end <= final.time for word in final.words)


@pytest.mark.parametrize("mode", ["full", "stream"])
def test_without_partials_the_same_finals(bundle: Path, mode: str) -> None:
    """Whether they are off from the beginning, or a slow machine gave them up in the middle.

    There is no bias toward the partials.
    """
    pcm = said()
    flags = {"final__mode": mode, "final__partial_bias_nats": 0}
    shown = of(Final, Made(bundle, **flags).recognize(pcm))
    never = Made(bundle, **flags)
    never.switch_partials_off()
    silent = never.recognize(pcm)
    assert not of(Partial, silent) and of(Final, silent) == shown
    made = Made(bundle, **flags)
    events = made.recognizer.feed(pcm[: 2 * SECOND])
    made.recognizer.partial_interval = None
    events += made.recognize(pcm[2 * SECOND :])
    assert of(Final, events) == shown


@settings(max_examples=8, deadline=None)
@given(before=st.integers(0, 8000), longest=st.floats(5, 8), mode=st.sampled_from(["full", "stream"]))
def test_a_cut_loses_no_audio_and_begins_a_new_stream(bundle: Path, before: int, longest: float, mode: str) -> None:
    made = Made(bundle, final__mode=mode, endpoint__longest_utterance_s=longest, endpoint__hangover_ms=2000)
    pcm = np.concatenate([np.zeros(before, np.float32), going_on()])
    events = made.recognize(pcm)
    starts = [round(event.time * SECOND) for event in of(SpeechStarted, events)]
    ends = [round(event.time * SECOND) for event in of(SpeechEnded, events)]
    assert len(starts) >= 2 and starts[1] == ends[0], "it was cut, and went on at the cut"
    for number, (start, audio) in enumerate(zip(starts, made.streamed(), strict=True)):
        start -= 0 if number else min(PREROLL, start)
        assert np.array_equal(audio, np.pad(pcm, (0, len(audio)))[start : start + len(audio)])
        assert start + len(audio) >= ends[number]
    assert len(of(Final, events)) == len(starts)


def test_without_ctc_symbols_there_is_no_final(bundle: Path) -> None:
    events = Made(bundle, lambda frame: "").recognize(said())
    assert [type(e) for e in events if not isinstance(e, Partial)] == [SpeechStarted, SpeechEnded]
    spaces = Made(bundle, lambda frame: " " if frame % 10 == 0 else "").recognize(said())
    assert not of(Final, spaces), "a space is no evidence"


def test_the_end_of_an_utterance_is_encoded_before_ctc_is_asked(bundle: Path) -> None:
    """A short word at the end of the audio: its symbols come with the last, unfinished chunk."""
    pcm = said()[: int(1.4 * SECOND)]
    whole = Made(bundle, lambda frame: "")
    whole.recognize(pcm)
    chunks = len(whole.streamed()[0]) // CHUNK - 1  # whole ones before the one that silence fills up
    last = chunks * CHUNKING.size
    assert of(Final, Made(bundle, lambda frame: "a" if frame >= last else "").recognize(pcm))


def test_the_hang_over_counts_from_the_last_symbol(bundle: Path) -> None:
    pcm = np.concatenate([said(), silence(4)])
    plain = Made(bundle, lambda frame: "a" if frame == 20 else "")
    (final,) = of(Final, plain.recognize(pcm))
    start = final.start - PREROLL / SECOND
    last = int((final.time - start) / 0.02) - 15  # a frame of the silence, within the hang-over
    longer = Made(bundle, lambda frame: "a" if frame in (20, last) else "")
    (later,) = of(Final, longer.recognize(pcm))
    symbol = start + last * 0.02
    hangover = longer.config.endpoint.hangover_ms / 1000
    assert later.time > final.time
    assert symbol + hangover <= later.time + 1e-6 <= symbol + hangover + 3 * STEP_S


def test_finals_of_a_stream_that_is_not_there_are_refused(bundle: Path, tmp_path: Path) -> None:
    shutil.copytree(bundle, tmp_path / "plain")
    path = tmp_path / "plain" / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["programs"]["speech"]["methods"]["stream"]
    path.write_text(json.dumps(manifest))
    flags = {"model.name": str(tmp_path / "plain"), "final.mode": "stream"}
    with pytest.raises(UsageError, match="wants a model with the method stream, found encode, decode in tiny"):
        assemble(load_config(environ={}, flags=flags).config)
    flags = {"model.name": str(bundle), "final.mode": "stream", "partial.mode": "reencode"}
    with pytest.raises(UsageError, match=r"final.mode = stream wants partial.mode = stream, found reencode"):
        assemble(load_config(environ={}, flags=flags).config)
    silent = load_config(environ={}, flags={**flags, "partial.enabled": False, "model.threads": 1}).config
    assert of(Final, assemble(silent).feed(said()))
