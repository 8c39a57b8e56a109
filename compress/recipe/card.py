"""The bundle's CARD.md: what it is, where it comes from, its sizes and parity; measurements are kept."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compress.quantize.plan import FLOAT, QuantizationPlan

MEASURED = "## Measured\n"  # everything from this heading on is written by hand or by commands, and is kept


def _quantization(manifest: Mapping[str, Any]) -> str:
    """How the weights are stored and the activations quantized, in one line."""
    facts = manifest["quantization"]
    plan = QuantizationPlan.from_table(facts["plan"])
    layers, stored = ({int(bits): n for bits, n in facts[name].items()} for name in ("layers", "bytes"))
    rule = f"Linear layers: {_width(plan.bits, plan.group)}"
    if set(layers) != {plan.bits}:
        rule += f" as a rule ({', '.join(f'{n} of {_bits(bits)}' for bits, n in sorted(layers.items()))})"
    parts = [rule, f"token embedding: {_width(plan.embedding, plan.embedding_group)}"]
    if set(layers) != {FLOAT}:
        fixed = " measured on speech in int8 layers, elsewhere" if plan.activations == "static" and 8 in layers else ""
        parts.append(f"int8 activations with ranges{fixed} of each token")
    parts.append(f"matrices by width: {', '.join(f'{n / 1e6:.2f} MB {_bits(b)}' for b, n in sorted(stored.items()))}")
    return "; ".join(parts) + "."


def _bits(bits: int) -> str:
    return "fp32" if bits == FLOAT else f"int{bits}"


def _width(bits: int, group: int | None) -> str:
    scale = "" if bits == FLOAT else f" with a scale every {group} columns" if group else " with a scale a row"
    return _bits(bits) + scale


BASES = {
    "network": "the network before rounding, in half precision, its token embedding as it ships where that is 4 bits.",
    "changes": "how the network before rounding differs from its teacher, whose package is needed too.",
}


def write_card(path: Path, manifest: Mapping[str, Any], previous: str) -> None:
    """Writes the card of `manifest`; the measured part of the `previous` card goes with it."""
    size = sum(entry["bytes"] for entry in manifest["files"].values())
    lines = [
        f"# {manifest['name']}",
        "",
        manifest["description"] + ".",
        "",
        f"* {manifest['parameters'] / 1e6:.1f} M parameters, {size / 1e6:.1f} MB.",
        f"* {_quantization(manifest)}",
        f"* Language: {manifest['language']}. Input: {manifest['sample_rate']} Hz mono.",
        "",
        "## Provenance",
        "",
    ]
    lines += [f"{k}. {step}" for k, step in enumerate(manifest["provenance"], 1)]
    lines += ["", "## Licenses", ""]
    lines += [f"* {entry['part']}: {entry['license']} ({entry['from']})" for entry in manifest["licenses"]]
    lines += ["", "## Files", "", "| file | bytes | sha256 |", "|---|---|---|"]
    lines += [
        f"| {name} | {entry['bytes']} | `{entry['sha256'][:16]}...` |" for name, entry in manifest["files"].items()
    ]
    if "base" in manifest:
        name, size = manifest["base"]["file"], manifest["base"]["bytes"]
        lines += [
            "",
            "## Base",
            "",
            f"{name} beside this folder, {size} bytes: {BASES[manifest['base'].get('kind', 'network')]} "
            "Other devices' models are made from it:",
            "",
            f"    device-asr-compress search --device rpi4 --teacher models/{name} --corpus CORPUS",
            f"    device-asr-compress build --teacher models/{name} --recipe mine.toml --out models/mine",
        ]
    lines += [
        "",
        "## Parity",
        "",
        "Root mean square of the difference, relative to the fp32 values, on 10 s of assets/letter.flac; "
        "the last column is the largest absolute difference.",
        "",
        "| method | quantized / fp32 | .pte / quantized | .pte / fp32 | largest |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {name} | {p['quantized_vs_fp32_rms']} | {p['pte_vs_quantized_rms']} | {p['pte_vs_fp32_rms']} | "
        f"{p['pte_vs_fp32_max']} |"
        for name, p in manifest["parity"].items()
    ]
    kept = previous[previous.index(MEASURED) :] if MEASURED in previous else MEASURED + "\nNot measured yet.\n"
    path.write_text("\n".join(lines) + "\n\n" + kept)
