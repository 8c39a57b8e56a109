"""The rebuilt voice activity detector is the original: same probabilities on real speech."""

from __future__ import annotations

import numpy as np
import pytest
import silero_vad
import soundfile

from device_asr.audio.format import STEP
from device_asr.bundle.method import Method, open_program
from device_asr.recognition.vad import VoiceActivityDetector
from tests.support.paths import ASSETS


@pytest.fixture(scope="module")
def step(tmp_path_factory: pytest.TempPathFactory) -> Method:
    from compress.export.vad import describe, export_vad
    from compress.networks.silero import load_silero

    path = tmp_path_factory.mktemp("vad") / "vad.pte"
    path.write_bytes(export_vad(load_silero()))
    return Method(open_program(path, describe()), "step", describe()["step"])


@pytest.mark.parametrize("name", ["letter.flac", "timer.flac"])
def test_equals_the_original_on_speech(step: Method, name: str) -> None:
    import torch

    pcm, _ = soundfile.read(ASSETS / name, dtype="float32")
    original = silero_vad.load_silero_vad(onnx=False)
    original.reset_states()
    ours = VoiceActivityDetector(step)
    frames = [pcm[k : k + STEP] for k in range(0, len(pcm) - STEP, STEP)]
    wanted = [original(torch.from_numpy(frame), 16000).item() for frame in frames]
    found = [ours(frame) for frame in frames]
    assert max(wanted) > 0.9 > 0.1 > min(wanted)
    np.testing.assert_allclose(found, wanted, atol=1e-3)


def test_reset_forgets_the_past(step: Method) -> None:
    pcm, _ = soundfile.read(ASSETS / "timer.flac", dtype="float32")
    detector = VoiceActivityDetector(step)
    frames = pcm[: len(pcm) // STEP * STEP].reshape(-1, STEP)
    first = [detector(frame) for frame in frames]
    detector.reset()
    assert [detector(frame) for frame in frames] == first
