"""A bundle written beside its place and put there when it is whole."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compress.checkpoints import base, changes
from compress.checkpoints.load import load_checkpoint
from compress.export.export import SpeechProgram
from compress.export.sizes import CACHE, TOKENS_PER_CALL
from compress.export.vad import describe as describe_vad
from compress.networks.checkpoint import Checkpoint
from compress.quantize.plan import report
from compress.recipe.card import write_card
from compress.recipe.recipe import CHANGES, Recipe
from device_asr.audio.format import SAMPLE_RATE
from device_asr.bundle.bundle import FORMAT
from device_asr.bundle.vocabulary import write_tokens
from device_asr.errors import OutputError, UsageError

VOCABULARY = "vocabulary.txt.gz"  # 0.23 MB of 50 256 tokens, 0.55 unpacked
VAD_LICENSE = {"part": "voice activity detector", "license": "MIT", "from": "Silero VAD"}


def check_out(out: Path) -> None:
    """Raises UsageError where a bundle would take the place of something that is none."""
    if out.exists() and not (out / "manifest.json").is_file() and not (out.is_dir() and not any(out.iterdir())):
        raise UsageError(
            f"--out {out}: wanted a new folder or that of a bundle, which is replaced, found other files; "
            "name a folder of its own."
        )


def write_bundle(recipe: Recipe, checkpoint: Checkpoint, speech: SpeechProgram, vad: bytes, out: Path) -> None:
    """Writes the bundle beside `out` and puts it in its place when it is whole.

    Raises:
        OutputError: it cannot be written; what lies there stays.
    """
    temporary = out.with_name(out.name + ".partial")
    try:
        _write(recipe, checkpoint, speech, vad, out, temporary)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise OutputError(
            f"{out} cannot be written ({error.strerror or error}); make room and run again: the stages are kept."
        ) from None
    except OutputError:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _write(
    recipe: Recipe, checkpoint: Checkpoint, speech: SpeechProgram, vad: bytes, out: Path, temporary: Path
) -> None:
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    (temporary / "model.pte").write_bytes(speech.data)
    (temporary / "vad.pte").write_bytes(vad)
    write_tokens(temporary / VOCABULARY, checkpoint.vocabulary.tokens)
    manifest = _manifest(recipe, checkpoint, speech, {path.name: _facts(path) for path in sorted(temporary.iterdir())})
    if recipe.base:
        half = base.beside(out)
        if recipe.base == CHANGES:
            changes.save(checkpoint, load_checkpoint(recipe.teacher), recipe.teacher, half)
            kind = CHANGES
        else:
            base.save(checkpoint, recipe.plan.table, half)
            kind = "network"
        manifest["base"] = {"file": half.name, "kind": kind, **_facts(half)}
    (temporary / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
    previous = out / "CARD.md"
    write_card(temporary / "CARD.md", manifest, previous.read_text() if previous.is_file() else "")
    former = out.with_name(out.name + ".former.partial")
    shutil.rmtree(former, ignore_errors=True)
    if out.exists():  # moved, not removed: a kill between the two leaves both whole
        out.replace(former)
    temporary.replace(out)
    shutil.rmtree(former, ignore_errors=True)


def _facts(path: Path) -> dict[str, Any]:
    data = path.read_bytes()
    return {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}


def _manifest(
    recipe: Recipe, checkpoint: Checkpoint, speech: SpeechProgram, files: Mapping[str, Any]
) -> dict[str, Any]:
    dims, tokens = checkpoint.dims, checkpoint.vocabulary
    plan, family = recipe.plan, checkpoint.family_of()
    banned = [i for i in tokens.suppress_first if i != tokens.end or "end_first" not in family.habits]
    counts = report(checkpoint.network(), plan)
    return {
        "format": FORMAT,
        "name": recipe.name,
        "family": checkpoint.family,
        "language": recipe.language,
        "description": recipe.description,
        "sample_rate": SAMPLE_RATE,
        "parameters": checkpoint.parameters,
        "licenses": [{"part": "speech model", **family.license}, VAD_LICENSE],
        "provenance": list(checkpoint.provenance),
        "files": dict(files),
        "programs": {
            "speech": {"file": "model.pte", "methods": speech.methods, "constants": speech.constants},
            "vad": {"file": "vad.pte", "methods": describe_vad()},
        },
        "speech": {
            "samples_per_position": family.samples_per_position,
            "positions": dims.audio_ctx,
            "cache": CACHE,
            "tokens_per_call": TOKENS_PER_CALL,
            "prompt": list(tokens.prompt),
            "end": tokens.end,
            "no_speech": tokens.no_speech,
            "word_start": tokens.word_start,
            **family.habits,
        },
        "vocabulary": {
            "file": VOCABULARY,
            "suppress": list(tokens.suppress),
            "suppress_first": banned,
        },
        "quantization": {"plan": plan.to_table(), "layers": counts.layers, "bytes": counts.bytes},
        "parity": speech.parity,
    }
