"""The cost of partials by utterance length: both policies over the same speech, as a figure and its data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from compress.report import figures
from device_asr.bench.continuous import Mark, cost, feed, without_pauses
from device_asr.bench.timed import timed_recognizer, with_partials
from device_asr.bundle.bundle import Bundle
from device_asr.config import Config
from device_asr.errors import UsageError
from device_asr.events import Seconds
from device_asr.metrics.clips import Clip

EDGES: tuple[Seconds, ...] = (5, 10, 20, 40, 80, 160, 320, 600)
TITLES = {
    "stream": "each chunk encoded once",
    "reencode": "the utterance encoded again",
    "encoder": "of that, the encoder",
}


def measure(
    bundle: Bundle,
    config: Config,
    clips: Sequence[Clip],
    edges: Sequence[Seconds],
    progress: Callable[[str, Mark], None],
) -> dict[str, Any]:
    """The cost of partials between every two of `edges` seconds of speech without a pause, for each policy.

    Args:
        config: its longest utterance tells where the speech is cut.
        progress: gets the policy and the last mark.

    Returns:
        model, threads, longest_utterance_s, and policies: name -> tables of from, to, partials, stream (seconds a
        second of audio).

    Raises:
        UsageError: the bundle has no `stream`. AudioError: a clip cannot be read.
    """
    if bundle.stream is None:
        raise UsageError(f"Wanted a model with the method stream, found none in {bundle.name}; choose another --model.")
    policies = {}
    for mode in ("stream", "reencode"):
        timed = timed_recognizer(bundle, without_pauses(with_partials(config, mode)))
        marks = []
        for mark in feed(timed, clips, edges[-1]):
            marks.append(mark)
            progress(mode, mark)
        policies[mode] = cost(marks, edges)
    return {
        "model": bundle.name,
        "threads": config.model.threads,
        "longest_utterance_s": config.endpoint.longest_utterance_s,
        "policies": policies,
    }


def draw(found: dict[str, Any]) -> str:
    """The figure as SVG text, of what `measure` returns."""

    def curve(mode: str, name: str) -> list[tuple[float, float]]:
        return [(row["to"], 1000 * row[name]) for row in found["policies"][mode]]

    return figures.cost_by_length(
        {
            TITLES["reencode"]: curve("reencode", "partials"),
            TITLES["stream"]: curve("stream", "partials"),
            TITLES["encoder"]: curve("stream", "stream"),
        }
    )
