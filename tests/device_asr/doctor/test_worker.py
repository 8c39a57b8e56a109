"""The recognizer in a process of its own: measured, and its death is a sentence."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest

from device_asr.audio.format import STEP
from device_asr.config import Config, ModelConfig
from device_asr.doctor.measure import Candidate
from device_asr.doctor.worker import Isolated, attempt
from device_asr.errors import BundleError, DeviceAsrError

CHUNK = np.zeros(STEP, np.float32)


def test_a_recognizer_is_measured_with_its_memory() -> None:
    found = attempt(Config(), Candidate(1), np.zeros(20 * STEP, np.float32), limit=60.0)
    assert found.whole and len(found.costs) == 20 and found.load > 0
    assert found.memory is not None and found.memory > 50e6


def test_a_process_that_is_killed_ends_the_run_with_a_sentence() -> None:
    recognizer = Isolated(Config())
    assert recognizer.feed(CHUNK) == [] and recognizer.pid is not None
    os.kill(recognizer.pid, signal.SIGILL)  # as an instruction that the processor lacks
    with pytest.raises(DeviceAsrError, match="was ended by SIGILL while it was measured"):
        for _ in range(1000):
            recognizer.feed(CHUNK)


def test_a_model_that_is_missing_is_told_as_elsewhere() -> None:
    with pytest.raises(BundleError, match="No model 'no-such'"):
        Isolated(Config(model=ModelConfig(name="no-such")))
