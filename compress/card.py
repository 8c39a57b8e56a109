"""The bundle's CARD.md: what it is, where it comes from, its sizes and parity; measurements are kept."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

MEASURED = "## Measured\n"  # everything from this heading on is written by hand or by commands, and is kept


def write_card(path: Path, manifest: Mapping[str, Any], previous: str) -> None:
    """Writes the card of `manifest`; the measured part of the `previous` card goes with it."""
    size = sum(entry["bytes"] for entry in manifest["files"].values())
    lines = [f"# {manifest['name']}", "", manifest["description"] + ".", "",
             f"* {manifest['parameters'] / 1e6:.1f} M parameters, {size / 1e6:.1f} MB, "
             f"{manifest['speech']['weights_bits']}-bit weights per channel, activations quantised per token.",
             f"* Language: {manifest['language']}. Input: {manifest['sample_rate']} Hz mono.", "",
             "## Provenance", ""]
    lines += [f"{k}. {step}" for k, step in enumerate(manifest["provenance"], 1)]
    lines += ["", "## Licences", ""]
    lines += [f"* {entry['part']}: {entry['licence']} ({entry['from']})" for entry in manifest["licences"]]
    lines += ["", "## Files", "", "| file | bytes | sha256 |", "|---|---|---|"]
    lines += [f"| {name} | {entry['bytes']} | `{entry['sha256'][:16]}...` |"
              for name, entry in manifest["files"].items()]
    lines += ["", "## Parity", "",
              "Root mean square of the difference, relative to the fp32 values, on 10 s of assets/letter.flac; "
              "the last column is the largest absolute difference.", "",
              "| method | quantised / fp32 | .pte / quantised | .pte / fp32 | largest |", "|---|---|---|---|---|"]
    lines += [f"| {name} | {p['quantised_vs_fp32_rms']} | {p['pte_vs_quantised_rms']} | {p['pte_vs_fp32_rms']} | "
              f"{p['pte_vs_fp32_max']} |" for name, p in manifest["parity"].items()]
    kept = previous[previous.index(MEASURED):] if MEASURED in previous else MEASURED + "\nNot measured yet.\n"
    path.write_text("\n".join(lines) + "\n\n" + kept)
