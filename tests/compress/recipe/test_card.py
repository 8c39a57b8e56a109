"""The card tells a quantization as it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from compress.networks.checkpoint import Checkpoint
from compress.quantize.plan import QuantizationPlan
from compress.quantize.plan import report as quantized
from compress.recipe.card import write_card
from device_asr.audio.format import SAMPLE_RATE


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        (
            QuantizationPlan(),
            "Linear layers: int8 with a scale a row; token embedding: int8 with a scale a row; int8 "
            "activations with ranges of each token; matrices by width: 0.04 MB int8.",
        ),
        (
            QuantizationPlan(32, embedding=32),
            "Linear layers: fp32; token embedding: fp32; matrices by width: 0.13 MB fp32.",
        ),
        (
            QuantizationPlan(
                4, 32, layers=QuantizationPlan.from_table({"layers": [{"name": "encoder.conv1", "bits": 32}]}).layers
            ),
            "Linear layers: int4 with a scale every 32 columns as a rule (17 of int4, 1 of fp32); token "
            "embedding: int8 with a scale a row;",
        ),
        (
            QuantizationPlan(activations="static"),
            "activations with ranges measured on speech in int8 layers, elsewhere of each token",
        ),
    ],
)
def test_the_card_tells_a_plan_as_it_is(tiny: Checkpoint, tmp_path: Path, plan: QuantizationPlan, said: str) -> None:
    counts = quantized(tiny.network(), plan)
    assert sum(counts.bytes.values()) == counts.bytes_after
    manifest = {
        "name": "x",
        "description": "d",
        "files": {},
        "parameters": 1,
        "language": "en",
        "sample_rate": SAMPLE_RATE,
        "provenance": [],
        "licenses": [],
        "parity": {},
        "quantization": {"plan": plan.to_table(), "layers": counts.layers, "bytes": counts.bytes},
    }
    write_card(tmp_path / "now.md", manifest, "")
    write_card(tmp_path / "later.md", json.loads(json.dumps(manifest)), "")
    assert said in (tmp_path / "now.md").read_text()
    assert (tmp_path / "now.md").read_text() == (tmp_path / "later.md").read_text()
