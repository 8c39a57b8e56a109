"""How the tests are run, and what several modules of tests share because it takes long to make."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from tests.support.paths import ASSETS, ROOT
from tests.support.run import locked, made_once

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # a worker a core: more threads would wait for one another

# without the offline stage's packages the tests of the runtime alone are run
OFFLINE = [
    "campaign",
    "compress",
    "device_asr/bench/test_continuous.py",
    "device_asr/decoding",
    "device_asr/recognition/test_recognizer_hotwords.py",
    "device_asr/recognition/test_recognizer_stream.py",
    "device_asr/recognition/test_stream_encoder.py",
]
collect_ignore = OFFLINE if importlib.util.find_spec("torchao") is None else []


def is_serial(item: pytest.Item) -> bool:
    return item.get_closest_marker("serial") is not None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that must run alone come last: a worker that waits for its turn would be idle until then."""
    items.sort(key=is_serial)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Each worker takes tests in their order, so that a module's fixtures are mostly made in one of them."""
    from xdist.scheduler import WorkStealingScheduling

    return WorkStealingScheduling(config, log)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """No other test runs beside a serial one, in no worker; the time that a test waits for that is not its own."""
    with locked(ROOT / "pyproject.toml", alone=is_serial(item)):
        return (yield)


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with the method `stream`: see `tiny_network`. Tests that change it change a copy."""
    pytest.importorskip("torchao", reason="exports a network: wants the offline stage")
    import soundfile

    from tests.support.tiny_network import tiny_bundle

    speech = soundfile.read(ASSETS / "timer.flac", dtype="float32")[0]
    return made_once(tmp_path_factory, "tiny", lambda out: tiny_bundle(speech, out))
