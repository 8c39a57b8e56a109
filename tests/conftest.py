"""What several modules of tests share because it takes long to make."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with the method `stream`: see `tiny_network`. Tests that change it change a copy."""
    import soundfile
    from tiny_network import tiny_bundle

    speech = soundfile.read(Path(__file__).parent.parent / "assets" / "timer.flac", dtype="float32")[0]
    return tiny_bundle(speech, tmp_path_factory.mktemp("models") / "tiny")
