"""Bundles whose programs are damaged, with checksums that fit again or with those of before."""

from __future__ import annotations

from pathlib import Path

from tests.campaign.case import HERE, Case
from tests.campaign.chance import Chance
from tests.campaign.kinds import bundle

BASE = bundle.BASE


def prepare(bases: Path) -> None:
    bundle.prepare(bases)


def draw(chance: Chance, bases: Path) -> Case:
    name = chance.choice(("vad.pte", "vad.pte", "model.pte"))
    size = (bases / BASE / name).stat().st_size
    edits = chance.byte_edits(name, size)
    if chance.random() < 0.1:
        edits = [chance.no_file(name)]
    signed = chance.random() < 0.6
    if signed and edits[0][1] not in ("drop", "folder", "fifo", "link"):
        edits.append([bundle.MANIFEST, "sign"])
    # a program whose checksum fits is looked at in a process of its own by `verify` and `add` alone
    verbs = (["models", "verify"], ["models", "add"]) if signed else (["models", "verify"], ["transcribe"])
    verb = chance.choice(verbs)
    arguments = ["transcribe", f"{HERE}/timer.wav", "--model", HERE] if verb == ["transcribe"] else [*verb, HERE]
    return Case("program", "device-asr", tuple(arguments), BASE, tuple(edits))
