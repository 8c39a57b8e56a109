"""Programs that tests export: an export takes half a minute, so a test run makes each of them once."""

from __future__ import annotations

import pickle
from collections.abc import Callable

import pytest

from compress.export.export import SpeechProgram
from tests.support.run import made_once


def exported_once(factory: pytest.TempPathFactory, name: str, export: Callable[[], SpeechProgram]) -> SpeechProgram:
    """The program that `export` makes, of the first worker that asks for this name."""
    path = made_once(factory, f"{name}.pickle", lambda out: out.write_bytes(pickle.dumps(export())))
    program: SpeechProgram = pickle.loads(path.read_bytes())
    return program
