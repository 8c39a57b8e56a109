"""A tiny teacher with clips to learn from, for tests of stages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from compress.data.training_data import TrainingData
from compress.networks.checkpoint import Checkpoint
from device_asr.audio.format import SAMPLE_RATE
from tests.support.speaking_teacher import BYTES, speaking
from tests.support.stages import DIMS


@pytest.fixture(scope="module")
def teacher() -> Checkpoint:
    return speaking(DIMS, BYTES, b" oh no.")


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
