"""Two models or settings on the same clips, and whether their difference is more than chance."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from device_asr.bench.table import table
from device_asr.commands.bench import command
from device_asr.config import Config
from device_asr.errors import UsageError
from device_asr.recognition import assemble as assembly
from tests.support.scripted import Scripted, corpus, utterance

HEARD = utterance(("Hello", 1.1), ("word", 1.5), at=2.2, compute=0.4)
WRONG = utterance(("Yellow", 1.1), ("word", 1.5), at=2.2, compute=0.2)

Sides = Callable[..., tuple[dict[str, Any], list[Config]]]


@pytest.fixture
def sides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sides:
    """Runs `bench`, each recognizer being the next of the scripted ones; the record, and their settings."""

    def run(recognizers: list[Scripted], *arguments: object, clips: int) -> tuple[dict[str, Any], list[Config]]:
        seen: list[Config] = []

        def make(config: Config) -> Scripted:
            seen.append(config)
            return recognizers[len(seen) - 1]

        monkeypatch.setattr(assembly, "assemble", make)
        manifest = corpus(tmp_path, *["hello word"] * clips)
        result = CliRunner().invoke(command, [str(manifest), "--json", *map(str, arguments)], catch_exceptions=False)
        return json.loads(result.stdout), seen

    return run


def test_the_other_side_recognizes_the_same_clips_and_its_difference_has_an_interval(sides: Sides) -> None:
    ours, others = Scripted(*[HEARD] * 5), Scripted(*[WRONG] * 4, HEARD)
    found, _ = sides([ours, others], "--against", "final.beam=1", clips=4)
    (measured,) = found["corpora"]
    other = measured["against"]
    assert (measured["wer"], other["wer"], other["clips"]) == (0, 3 / 8, 4)
    assert other["difference"] == -3 / 8
    low, high = other["difference_interval"]
    assert -0.5 <= low < -3 / 8 < high <= 0
    assert other["partials_difference"] == pytest.approx(-3 / 8) and len(other["partials_difference_interval"]) == 2
    assert found["against"] == {"final.beam": "1"}
    assert other["finals_compute_s"] == pytest.approx(3 * 0.2 + 0.4)


def test_the_table_says_what_the_interval_says(sides: Sides) -> None:
    same, _ = sides([Scripted(*[HEARD] * 4), Scripted(*[HEARD] * 4)], "--against", "final.beam=1", clips=3)
    better, _ = sides([Scripted(*[HEARD] * 4), Scripted(*[WRONG] * 4)], "--against", "final.beam=1", clips=3)
    worse, _ = sides([Scripted(*[WRONG] * 4), Scripted(*[HEARD] * 4)], "--against", "final.beam=1", clips=3)
    assert "+0.0 (+0.0 to +0.0), undecided" in table(same)
    assert "-50.0 (-50.0 to -50.0), better" in table(better)
    assert "+50.0 (+50.0 to +50.0), worse" in table(worse)
    assert "--against: the same clips with final.beam=1" in table(better)


def test_a_name_is_a_model_and_all_entries_together_make_the_other_side(sides: Sides) -> None:
    recognizers = [Scripted(*[HEARD] * 2), Scripted(*[HEARD] * 2)]
    arguments = ("--against", "en-base", "--against", "partial.enabled=off", "--threads", 1)
    _, (ours, other) = sides(recognizers, *arguments, clips=1)
    assert (ours.model.name, ours.partial.enabled, ours.model.threads) == (Config().model.name, True, 1)
    assert (other.model.name, other.partial.enabled, other.model.threads) == ("en-base", False, 1)


@pytest.mark.parametrize(
    ("entry", "words"),
    [("final.beem=1", "nearest valid name is 'final.beam'"), ("final.beam=many", "final.beam: wanted a finite number")],
)
def test_a_mistake_in_it_is_found_before_anything_is_measured(
    tmp_path: Path, bench: Callable[..., Result], entry: str, words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        bench(never_made := Scripted([]), corpus(tmp_path, "hello"), "--against", entry)
    assert never_made.chunks == []


def test_it_wants_clips_and_no_real_time(bench: Callable[..., Result]) -> None:
    with pytest.raises(UsageError, match="want a MANIFEST"):
        bench(Scripted([]), "--noise", 5, "--against", "final.beam=1")
    with pytest.raises(UsageError, match="leave out --realtime"):
        bench(Scripted([]), "x.jsonl", "--realtime", "--against", "final.beam=1")


def test_the_difference_stands_below_the_errors_that_it_is_of(sides: Sides) -> None:
    found, _ = sides([Scripted(*[HEARD] * 4), Scripted(*[WRONG] * 4)], "--against", "final.beam=1", clips=3)
    titles = [line.split("  ")[0] or line.strip().split("  ")[0] for line in table(found).splitlines()]
    first = titles.index("WER")
    assert titles[first + 1 : first + 4] == ["substituted / deleted / inserted", "less that of --against", "CER"]
