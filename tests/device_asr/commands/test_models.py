"""What `device-asr models` says of programs and of what runs them."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from device_asr.commands.parts import loading
from device_asr.commands.parts.loading import check_program, in_a_process
from device_asr.errors import BundleError
from tests.support.paths import MODEL


def crash(bundle: Path, program: str) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def refuse(bundle: Path, program: str) -> None:
    raise BundleError(f"{bundle}: {program} is refused.")


def wait(bundle: Path, program: str) -> None:
    time.sleep(60)


def test_the_shipped_programs_load() -> None:
    check_program(MODEL, "vad")


def test_a_program_that_crashes_is_a_sentence() -> None:
    with pytest.raises(BundleError, match=r"'vad' crashes when loaded \(SIGSEGV\)\. It is damaged.*copy it again\.$"):
        in_a_process(crash, MODEL, "vad")


def test_a_refusal_is_handed_on() -> None:
    with pytest.raises(BundleError, match=r"en-tiny: vad is refused\.$"):
        in_a_process(refuse, MODEL, "vad")


def test_a_program_that_never_ends_loading_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "LONGEST", 0.5)
    with pytest.raises(BundleError, match=r"'vad' takes more than 0\.5 s"):
        in_a_process(wait, MODEL, "vad")
