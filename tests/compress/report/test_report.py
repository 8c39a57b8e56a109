"""The report: one file with nothing outside of it, whichever of its inputs are there."""

from __future__ import annotations

import base64
import json
import re
import shutil
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import CliRunner

from compress.cli import group
from compress.evaluate.measurement import Measurement, MeasurementError, write_rows
from compress.report.figures import pareto_front
from compress.report.html import page, write
from compress.report.inputs import Inputs, ReportError, gather, read_curve
from compress.search.device_profile import DeviceProfile
from device_asr.errors import OutputError
from tests.support.paths import MODEL

SHIPPED = MODEL
DEVICE = DeviceProfile("toy", 2, 400, 24.0, 500.0, 0.5, 4.0, "made <up>")
ROWS = [
    Measurement(
        "0",
        settings={"bits": 8},
        parameters=20_000_000,
        bytes=22_000_000,
        loss=1.2,
        wer=0.15,
        rtf=0.05,
        compute_p95=0.1,
        memory=3 * 10**8,
        seconds=60.0,
        bundle="b/0",
    ),
    Measurement(
        "1",
        settings={"bits": 4},
        parameters=20_000_000,
        bytes=12_000_000,
        loss=1.2,
        wer=0.25,
        rtf=0.05,
        compute_p95=0.05,
        memory=3 * 10**8,
        seconds=60.0,
        bundle="b/1",
    ),
    Measurement(
        "2",
        settings={"bits": 32},
        state="cut",
        parameters=20_000_000,
        bytes=80_000_000,
        estimated=True,
        reason="estimated size 80 MB",
        worked=False,
    ),
    Measurement(
        "3",
        settings={"bits": 8},
        state="failed",
        parameters=20_000_000,
        bytes=22_000_000,
        estimated=True,
        seconds=5.0,
        reason="The <export> failed.",
    ),
]


class Collected(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.text = ""
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value for name, value in attrs if name in ("src", "href") and value]

    def handle_data(self, data: str) -> None:
        self.text += data


def parsed(source: str) -> Collected:
    collected = Collected()
    collected.feed(source)
    return collected


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A work folder with everything in it."""
    write_rows(ROWS, tmp_path / "ledger.jsonl")
    sensitive = [
        Measurement("encoder.layers.0.ffn.up", saved_wer=0.002),
        Measurement("decoder.layers.1.cross.key", saved_wer=0.01),
    ]
    write_rows(sensitive, tmp_path / "sensitivity.jsonl")
    stages = [
        Measurement("teacher", parameters=37_800_000, bytes=151_000_000, wer=0.142),
        Measurement("vocabulary", parameters=22_000_000, bytes=88_000_000, wer=0.157, seconds=3.0),
    ]
    write_rows(stages, tmp_path / "stages.jsonl")
    run = tmp_path / "build" / "distill-1"
    run.mkdir(parents=True)
    lines = [json.dumps({"loss": 3.0 - step / 100, "step": step}) for step in range(1, 121)]
    (run / "metrics.jsonl").write_text("\n".join([*lines, json.dumps({"step": 120, "decision": "stop"}), '{"lo']))
    return tmp_path


def test_everything_is_in_one_file(work: Path) -> None:
    shutil.copytree(SHIPPED, work / "bundle", ignore=shutil.ignore_patterns("*.pte"))
    found = parsed(page(gather(work, DEVICE, work / "bundle")))
    assert len(found.sources) == 3  # Pareto, sensitivity, losses
    assert all(source.startswith("data:image/svg+xml;base64,") for source in found.sources)
    assert not {"script", "link"} & set(found.tags)
    for source in found.sources:
        ElementTree.fromstring(base64.b64decode(source.partition(",")[2]))
    assert "Best within the budgets of toy: b/0" in found.text
    assert "# en-tiny" in found.text and "made <up>" in found.text


def test_the_figures_say_what_the_rows_say(work: Path) -> None:
    images = [
        base64.b64decode(source.partition(",")[2]).decode()
        for source in parsed(page(gather(work, DEVICE, None))).sources
    ]
    assert "finalization, p95, ms on toy" in images[0] and "bundle, MB" in images[0]
    layers = re.findall(r"(encoder\.layers\S+|decoder\.layers\S+?)<", images[1])
    assert layers.index("decoder.layers.1.cross.key") < layers.index("encoder.layers.0.ffn.up")
    assert "build/distill-1" in images[2]


def test_times_are_scaled_to_the_device_and_stages_compared_with_the_one_before(work: Path) -> None:
    text = page(gather(work, DEVICE, None))
    assert "<td>0.200</td><td>400</td><td>60</td>" in text  # RTF 0.05 and 100 ms, times 4
    assert "<td>63.0</td><td>+1.5</td>" in text  # vocabulary: MB saved, points paid
    assert "1 more were set aside" in text
    assert "The &lt;export&gt; failed." in text


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    found = parsed(page(gather(tmp_path, None, None)))
    assert found.sources == []
    for said in (
        "No trial was measured yet",
        "No ledger",
        "No stages.jsonl",
        "No sensitivity.jsonl",
        "No metrics.jsonl",
        "--bundle",
    ):
        assert said in found.text
    assert parsed(page(Inputs(ROWS[2:], DEVICE))).text.count("No bundle for toy") == 1


def test_the_same_inputs_make_the_same_bytes(work: Path) -> None:
    assert page(gather(work, DEVICE, None)) == page(gather(work, DEVICE, None))


def test_a_point_on_the_front_is_bettered_by_none() -> None:
    points = [(3.0, 1.0), (1.0, 3.0), (2.0, 2.0), (2.0, 5.0), (4.0, 1.0)]
    assert pareto_front(points) == [1, 2, 0]
    assert pareto_front([]) == []


def test_a_cut_line_and_a_verdict_are_not_in_the_curve(work: Path) -> None:
    curve = read_curve(work / "build" / "distill-1" / "metrics.jsonl")
    assert (len(curve), curve[0], curve[-1]) == (120, (1, 2.99), (120, 1.8))


def test_a_broken_input_is_one_sentence(work: Path, tmp_path: Path) -> None:
    (work / "sensitivity.jsonl").write_text('{"layer": "x"}')
    with pytest.raises(MeasurementError, match=r"sensitivity\.jsonl, line 1: wanted an object with a name"):
        gather(work, None, None)
    with pytest.raises(ReportError, match="found no folder"):
        gather(tmp_path / "none", None, None)
    with pytest.raises(ReportError, match=r"CARD\.md cannot be read"):
        (work / "sensitivity.jsonl").unlink()
        gather(work, None, work)
    with pytest.raises(OutputError, match="cannot be written"):
        write(Inputs(), tmp_path / "none" / "report.html")


def test_the_command_writes_the_file_and_nothing_beside_it(work: Path, tmp_path: Path) -> None:
    out = tmp_path / "out" / "report.html"
    out.parent.mkdir()
    result = CliRunner().invoke(group, ["report", "--work", str(work), "--device", "rpi4", "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert [path.name for path in out.parent.iterdir()] == ["report.html"]
    assert "rpi4" in out.read_text()
