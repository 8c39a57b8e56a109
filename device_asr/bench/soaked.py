"""The process that `soak` watches: the interface, and its own figures when it has ended."""

from __future__ import annotations

import json
import math
import pickle
import sys
from pathlib import Path
from typing import Any

from device_asr.audio.devices import silenced_libraries
from device_asr.audio.file import FileSource
from device_asr.audio.live_source import LiveSource
from device_asr.audio.realtime import RealtimeSource
from device_asr.bench.live import Playlist
from device_asr.config import Config
from device_asr.dictation import remote
from device_asr.errors import DeviceAsrError
from device_asr.events import Seconds
from device_asr.metrics.clips import Clip
from device_asr.metrics.latency import Series, rtf
from device_asr.tui.app import DictationApp

TAIL: Seconds = 2.0  # of silence after each round


def run(config: Config, audio: Path | None, seconds: Seconds, answer: Path) -> None:
    """Runs the interface until a signal ends it; `audio` again and again, or the microphone."""
    try:
        found = _figures(config, audio, seconds)
    except DeviceAsrError as error:
        found = {"failure": str(error)}
    partial = answer.with_suffix(".partial")
    partial.write_text(json.dumps(found))
    partial.rename(answer)


def _figures(config: Config, audio: Path | None, seconds: Seconds) -> dict[str, Any]:
    with silenced_libraries():
        app = DictationApp(_source(config, audio, seconds), lambda: remote.load(config), config)
        try:
            app.run()
        finally:
            app.close()
    state, meter = app.session.state, app.meter
    return {
        "failure": app.failure,
        "source": state.device,
        "updates_per_second": app.updates / state.wall_elapsed,
        "overflows": state.overflows,
        "lost_s": state.lost,
        "words": meter.final_words,
        "utterances": meter.utterances,
        "rtf": rtf(state.compute, state.elapsed),
        "first_partial_s": _quantiles(meter.first_partial),
        "word_emission_s": _quantiles(meter.word_emission),
        "finalization_s": _quantiles(meter.finalization),
        "finalization_no_hangover_s": _quantiles(meter.finalization_no_hangover),
    }


def _quantiles(series: Series) -> dict[str, Any]:
    return {"p50": series.p50, "p95": series.p95, "count": series.count}


def _source(config: Config, audio: Path | None, seconds: Seconds) -> LiveSource:
    if audio is None:
        from device_asr.audio.microphone import MicrophoneSource

        return MicrophoneSource(config.audio)
    file = FileSource(audio)
    file.close()
    rounds = math.ceil(seconds / (file.seconds + TAIL)) + 2  # the interface's end comes first
    return RealtimeSource(Playlist([Clip(audio, None, None, file.seconds)] * rounds, TAIL))


if __name__ == "__main__":
    run(*pickle.loads(Path(sys.argv[1]).read_bytes()))
