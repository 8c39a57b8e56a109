"""The card of a search's best bundle gets its figures."""

from __future__ import annotations

from pathlib import Path

from compress.evaluate.measurement import Measurement
from compress.search.card import measured_card
from compress.search.device_profile import DeviceProfile
from tests.support.paths import MODEL

DEVICE = DeviceProfile("toy", 2, 400, 24.0, 500.0, 0.5, 4.0, "made up")


def test_a_card_gets_its_figures_once(tmp_path: Path) -> None:
    bundle = tmp_path / "b"
    bundle.mkdir()
    (bundle / "manifest.json").write_bytes((MODEL / "manifest.json").read_bytes())
    (bundle / "CARD.md").write_text("# old\n\n## Measured\n\nNot measured yet.\n")
    row = Measurement(
        "0",
        parameters=20_000_000,
        bytes=22_000_000,
        wer=0.15,
        rtf=0.05,
        compute_p95=0.1,
        seconds=60.0,
        bundle=str(bundle),
    )
    measured_card(row, DEVICE, "dev (50 clips)", "device-asr-compress search --device toy")
    text = (bundle / "CARD.md").read_text()
    assert text.startswith("# en-tiny") and "* WER (%): 15.0" in text and "search --device toy" in text
    assert "* finalization, p95, without the hang-over (ms): 100" in text and "Not measured yet" not in text
    measured_card(row, DEVICE, "dev", "another command")
    assert (bundle / "CARD.md").read_text() == text
