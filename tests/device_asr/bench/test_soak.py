"""`device-asr soak`: the figures it makes of samples, and the interface under it for real."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from device_asr.audio.format import SAMPLE_RATE
from device_asr.bench.memory import Use, long_run
from device_asr.bench.soak import Sample, figures, fit
from device_asr.bundle.bundle import find_bundles
from device_asr.commands.soak import command, table
from device_asr.errors import AudioError, DeviceAsrError, UsageError
from tests.support.paths import ASSETS

LETTER = ASSETS / "letter.flac"


def test_the_slope_of_a_line_and_how_sure_it_is() -> None:
    exact = fit([0, 1, 2, 3], [5, 7, 9, 11])
    assert (exact.slope, exact.error) == (pytest.approx(2), pytest.approx(0, abs=1e-9))
    rng = np.random.default_rng(0)
    times = np.arange(1800.0)
    noisy = fit(times, 4e8 + 100.0 * times + rng.normal(0, 1e5, 1800))
    assert abs(noisy.slope - 100.0) < 3 * noisy.error and 1 < noisy.error < 10


def test_figures_are_of_the_time_between_the_first_sample_and_the_last() -> None:
    samples = [Sample(100.0 + n, Use(400_000_000 + 1000 * n, 30, 9), 7.0 + 0.2 * n, 50 + 22 * n) for n in range(11)]
    found = figures(samples)
    assert found["seconds"] == 10.0
    assert found["memory"]["slope_bytes_per_hour"] == pytest.approx(3_600_000)
    assert found["memory"]["max_bytes"] == 400_010_000
    filling = [Sample(float(n), Use(1000 * min(n, 10), 3, 2), 0.0, n) for n in range(31)]
    assert figures(filling)["memory"]["slope_bytes_per_hour"] > 500_000
    assert figures(filling)["memory"]["settled_slope_bytes_per_hour"] == pytest.approx(0, abs=1)
    assert found["cpu"] == pytest.approx(0.2)
    assert found["draws_per_second"] == {"mean": 22.0, "p50": 22.0}
    with pytest.raises(DeviceAsrError, match="--minutes"):
        figures(samples[:2])


def test_eight_hours_are_extrapolated_along_lines_that_never_fall() -> None:
    hour = [360.0 * n for n in range(11)]
    found = long_run(hour, [Use(1_000_000 + 100_000 * n, 20 + n, 12 - n // 5) for n in range(11)])
    assert found["descriptors"] == {"first": 20, "last": 30, "max": 30, "per_hour": pytest.approx(10)}
    assert found["threads"]["last"] == 10 and found["threads"]["per_hour"] < 0
    assert found["after"] == {
        "hours": 8,
        "memory_bytes": pytest.approx(9_000_000),
        "descriptors": pytest.approx(100),
        "threads": 10,
    }


def test_what_cannot_be_measured_is_reported_before_the_minutes(tmp_path: Path) -> None:
    asked = CliRunner().invoke(command, ["--device", "vmic"])
    assert isinstance(asked.exception, UsageError) and "--player" in str(asked.exception)
    asked = CliRunner().invoke(command, ["--audio", str(tmp_path / "absent.flac")])
    assert isinstance(asked.exception, AudioError)
    assert CliRunner().invoke(command, ["--minutes", "0"]).exit_code == 2


def test_an_interface_that_ends_before_its_time_is_reported(tmp_path: Path) -> None:
    audio = tmp_path / "tone.wav"
    soundfile.write(audio, np.zeros(SAMPLE_RATE, np.float32), SAMPLE_RATE)
    config = tmp_path / "config.toml"
    config.write_text('[interface]\nkeys = { pause = "m" }\n')
    asked = CliRunner().invoke(command, ["--audio", str(audio), "--config", str(config)])
    assert isinstance(asked.exception, DeviceAsrError) and "already means: pause" in str(asked.exception)


@pytest.mark.slow
@pytest.mark.skipif(not find_bundles(), reason="no model is there")
def test_the_interface_is_run_and_measured_without_a_terminal() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "device_asr.cli", "soak", "--minutes", "0.6", "--json"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert (result.returncode, result.stderr) == (0, "")
    found = json.loads(result.stdout)
    assert found["words"] >= 55 and found["overflows"] == 0
    assert 5e7 < found["memory"]["max_bytes"] < 2e9 and 0 < found["cpu"] < 1.5
    assert found["descriptors"]["max"] > 5 and found["threads"]["max"] > 1 and "after 8 h" in table(found)
    assert "memory slope" in table(found) and "of the last two thirds" in table(found)
