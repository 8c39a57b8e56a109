"""Custom words in the benchmark."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from device_asr.bench.custom import Recall, occurrences, recall
from device_asr.bench.table import table
from device_asr.commands.bench import command
from device_asr.config import Config
from device_asr.errors import UsageError
from device_asr.hotwords.words import Hotword
from device_asr.recognition import assemble as assembly
from tests.support.scripted import Scripted, corpus, utterance


def test_custom_words_are_counted_as_whole_words_however_they_are_written() -> None:
    assert occurrences("New York", "In new york, New-York and New Yorkshire; York.") == 2
    assert occurrences("ha ha", "ha ha ha ha ha") == 2
    words = [Hotword("Pria"), Hotword("PRIA", 2.0), Hotword("New York"), Hotword("Zurich")]
    pairs = [("pria in new york", "Pria in Newark. Pria? Zurich!"), ("pria", "Priya"), (None, "Zurich")]
    assert recall(words, pairs) == Recall(said=3, found=1, false_alarms=2)
    assert recall(words, [("anna", "anna")]).recall is None


def test_custom_words_are_measured_with_and_without_the_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = utterance(("Prea", 1.1), ("said.", 1.5), at=2.2)
    custom = utterance(("Pria", 1.1), ("Zurich.", 1.5), at=2.2)

    def scripted(config: Config) -> Scripted:
        # the first clip is recognized twice where it is measured: warm-up
        return Scripted(custom, custom, []) if config.decoding.hotwords else Scripted(plain, [])

    monkeypatch.setattr(assembly, "assemble", scripted)
    (tmp_path / "words.txt").write_text("Pria\nZurich\n")
    arguments = [str(corpus(tmp_path, "pria said", "pria", seconds=18.0)), "--hotwords", str(tmp_path / "words.txt")]
    found = json.loads(CliRunner().invoke(command, [*arguments, "--json"], catch_exceptions=False).stdout)
    (measured,) = found["corpora"]
    hotwords = measured["hotwords"]
    finals = hotwords["with"]["finals"]
    assert hotwords["words"] == 2
    assert (finals["said"], finals["found"], finals["false_alarms"], finals["recall"]) == (2, 1, 1, 0.5)
    assert finals["false_alarms_per_hour"] == pytest.approx(100) and finals["wer"] == pytest.approx(2 / 3)
    assert hotwords["with"]["partials"]["found"] == 1 and hotwords["with"]["partials"]["false_alarms"] == 0
    assert hotwords["without"]["finals"]["found"] == 0 and hotwords["without"]["finals"]["wer"] == pytest.approx(2 / 3)
    assert measured["partials"]["words"] == 3 and measured["partials"]["deletions"] == 2
    text = table(found)
    assert re.search(r"custom words found, finals +50.0 % \(1 of 2\)\n  without the list +0.0 % \(0 of 2\)", text)
    assert re.search(r"custom words, false alarms, finals +1 \(100.0 / h\)", text)


def test_custom_words_that_cannot_be_used_are_reported_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.txt cannot be read"):
        CliRunner().invoke(
            command, [str(corpus(tmp_path, "a")), "--hotwords", str(tmp_path / "none.txt")], catch_exceptions=False
        )
