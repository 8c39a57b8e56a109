"""Fixtures of the benchmark's tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner, Result

from device_asr.commands.bench import command
from device_asr.recognition import assemble as assembly


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """`device-asr bench`, its recognizer scripted."""

    def run(recognizer: Any, *arguments: object) -> Result:
        monkeypatch.setattr(assembly, "assemble", lambda config: recognizer)
        return CliRunner().invoke(command, [str(a) for a in arguments], catch_exceptions=False)

    return run
