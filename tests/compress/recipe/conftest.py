"""Tiny teachers with clips to learn from, for tests of stages and of builds."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from compress import cli
from compress.checkpoints import own
from compress.data.training_data import TrainingData
from compress.networks.checkpoint import Checkpoint
from compress.prune import vocabulary
from device_asr.audio.format import SAMPLE_RATE
from tests.support import dims
from tests.support.builds import Run
from tests.support.speaking_teacher import BYTES, speaking
from tests.support.stages import OF_FAMILY, teacher_of


@pytest.fixture(autouse=True)
def fewer_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the 400 000 by whose frequency tokens are chosen, whose encoding takes half a minute."""
    monkeypatch.setattr(vocabulary, "COMMON_WORDS", 1_000)


@pytest.fixture(scope="module", params=OF_FAMILY)
def teacher(request: pytest.FixtureRequest) -> Checkpoint:
    return teacher_of(request.param)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, rng = tmp_path_factory.mktemp("corpus"), np.random.default_rng(0)
    for name, count in (("train", 8), ("dev", 2)):
        rows = []
        for i in range(count):
            seconds = float(rng.uniform(1.2, 2.0))
            soundfile.write(folder / f"{name}{i}.wav", rng.normal(0, 0.1, int(seconds * SAMPLE_RATE)), SAMPLE_RATE)
            rows.append({"audio": f"{name}{i}.wav", "text": "oh no", "duration": seconds})
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture
def told() -> list[tuple[str, float | None, str]]:
    """What the progress line said."""
    return []


@pytest.fixture
def data(teacher: Checkpoint, corpus: Path, tmp_path: Path, told: list[Any]) -> TrainingData:
    return TrainingData(teacher, {"train": "all"}, corpus, None, tmp_path / "labels", lambda *line: told.append(line))


@pytest.fixture(scope="session")
def tiny() -> Checkpoint:
    """The teacher of builds."""
    return speaking(dims.DIMS, BYTES, b" oh no.")


@pytest.fixture
def place(tiny: Checkpoint, tmp_path: Path) -> Path:
    """A folder with a teacher and a corpus of six clips."""
    own.save(tiny, tmp_path / "teacher")
    rng, rows = np.random.default_rng(0), []
    (tmp_path / "corpus").mkdir()
    for i in range(6):
        soundfile.write(tmp_path / "corpus" / f"{i}.wav", rng.normal(0, 0.1, int(1.5 * SAMPLE_RATE)), SAMPLE_RATE)
        rows.append({"audio": f"{i}.wav", "text": "oh no", "duration": 1.5})
    (tmp_path / "corpus" / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command as the shell does; its exit code and what it said on stderr, or on stdout where that is all."""

    def call(*arguments: Any) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["device-asr-compress", *map(str, arguments)])
        try:
            cli.main()
            code = 0
        except SystemExit as ended:
            code = int(ended.code or 0)
        out, err = capsys.readouterr()
        return code, err.strip() or out.strip()

    return call
