"""Both runtimes and the tiny programs that their common tests run."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest

from device_asr.runtime.choice import EXECUTORCH, NAMES, NATIVE, native_module
from device_asr.runtime.session import Session
from tests.support.run import made_once
from tests.support.tiny_programs import export_tiny

Opener = Callable[..., Session]


@pytest.fixture(params=NAMES)
def open_with(request: pytest.FixtureRequest) -> Opener:
    """Each runtime's `open_session`."""
    return opener(request.param)


def opener(name: str) -> Opener:
    """A runtime's session class; a test of a runtime that is not installed is skipped."""
    if name == NATIVE:
        try:
            native_module()
        except ImportError as error:
            pytest.skip(f"the native module is not built: {error}")
        from device_asr.runtime.native import NativeSession

        return NativeSession
    assert name == EXECUTORCH
    if importlib.util.find_spec("executorch") is None:
        pytest.skip("executorch is not installed")
    from device_asr.runtime.executorch import ExecutorchSession

    return ExecutorchSession


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program of the methods that `tests.support.tiny_programs` describes."""
    pytest.importorskip("torchao", reason="exports a program: wants the offline stage")
    return made_once(tmp_path_factory, "tiny.pte", lambda out: out.write_bytes(export_tiny()))
