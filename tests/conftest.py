"""What several modules of tests share because it takes long to make."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from tests.support.paths import ASSETS

# without the offline stage's packages the tests of the runtime alone are run
OFFLINE = [
    "compress",
    "device_asr/decoding",
    "device_asr/recognition/test_recognizer_hotwords.py",
    "device_asr/recognition/test_recognizer_stream.py",
    "device_asr/recognition/test_stream_encoder.py",
]
collect_ignore = OFFLINE if importlib.util.find_spec("torchao") is None else []


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with the method `stream`: see `tiny_network`. Tests that change it change a copy."""
    import soundfile

    from tests.support.tiny_network import tiny_bundle

    speech = soundfile.read(ASSETS / "timer.flac", dtype="float32")[0]
    return tiny_bundle(speech, tmp_path_factory.mktemp("models") / "tiny")
