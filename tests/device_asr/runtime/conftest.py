"""Both runtimes and the tiny programs that their common tests run."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest

from device_asr.runtime.choice import EXECUTORCH, NAMES, NATIVE, native_module
from device_asr.runtime.session import Session
from tests.support.run import made_once

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
    """The program of `METHODS`."""
    return exported(tmp_path_factory, "tiny")


@pytest.fixture(scope="session")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program of `SLOW`."""
    return exported(tmp_path_factory, "slow")


@pytest.fixture(scope="session")
def equal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program of the method `equal`."""
    return exported(tmp_path_factory, "equal")


def exported(factory: pytest.TempPathFactory, name: str) -> Path:
    """What `export_NAME` of `tests.support.tiny_programs` makes, once a run."""
    pytest.importorskip("torchao", reason="exports a program: wants the offline stage")
    from tests.support import tiny_programs

    return made_once(factory, f"{name}.pte", lambda out: out.write_bytes(getattr(tiny_programs, f"export_{name}")()))
