"""The figure of what partials cost by utterance length, on a tiny network."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from compress.cli import group
from compress.report import cost_by_length
from device_asr.bundle.bundle import load
from device_asr.config import load as load_config
from device_asr.errors import UsageError
from device_asr.metrics.clips import Clip
from tests.support.paths import ASSETS

TIMER = ASSETS / "timer.flac"
CLIP = Clip(TIMER, "set a timer", None, 2.848)


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    path = tmp_path / "dev.jsonl"
    path.write_text(json.dumps({"audio": str(TIMER), "text": "set a timer"}) + "\n")
    return path


def test_the_figure_shows_both_policies(bundle: Path, manifest: Path, tmp_path: Path) -> None:
    out = tmp_path / "cost-by-length.svg"
    found = CliRunner().invoke(
        group,
        ["cost-by-length", str(manifest), "--model", str(bundle), "--seconds", "10", "--out", str(out)],
        catch_exceptions=False,
    )
    assert found.exit_code == 0, found.output
    data = json.loads(out.with_suffix(".json").read_text())
    assert [row["to"] for row in data["policies"]["reencode"]] == [5, 10]
    assert all(0 < row["stream"] < row["partials"] for row in data["policies"]["stream"])
    svg = out.read_text()
    assert all(title in svg for title in cost_by_length.TITLES.values())


def test_a_model_without_the_stream_has_no_figure(tmp_path: Path, bundle: Path, manifest: Path) -> None:
    config = load_config(environ={}).config
    opened = load(str(bundle))
    methods = dict(opened.manifest["programs"]["speech"]["methods"])
    del methods["stream"]
    without = {
        **opened.manifest,
        "programs": {
            **opened.manifest["programs"],
            "speech": {**opened.manifest["programs"]["speech"], "methods": methods},
        },
    }
    with pytest.raises(UsageError, match="Wanted a model with the method stream"):
        cost_by_length.measure(type(opened)(opened.path, without), config, [CLIP], (5,), lambda mode, mark: None)
