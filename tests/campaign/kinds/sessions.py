"""Journals of sessions: records with other values, torn lines, other things in the folder."""

from __future__ import annotations

import json
from pathlib import Path

from device_asr.events import to_record
from device_asr.writers import FORMATS
from tests.campaign.case import HERE, Case
from tests.campaign.chance import Chance
from tests.campaign.edits import Edit
from tests.support.finals import final

BASE = "sessions"
NAMES = ("2026-01-02-030405.jsonl", "2026-01-03-030405.jsonl")


def prepare(bases: Path) -> None:
    (bases / BASE).mkdir()
    records = [
        {"event": "session", "version": 1, "started": "2026-01-02T03:04:05+00:00", "model": "en-tiny"},
        *(to_record(final(f"Utterance {n}.", n, n + 0.5, n)) for n in range(3)),
        {"event": "edit", "line": 1, "text": "Edited."},
        {"event": "partial", "text": "and so"},
    ]
    for name in NAMES:
        (bases / BASE / name).write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")


def draw(chance: Chance, bases: Path) -> Case:
    name = chance.choice(NAMES)
    data = (bases / BASE / name).read_bytes()
    lines = data.splitlines()
    edits: list[Edit]
    roll = chance.random()
    if roll < 0.4:
        number = chance.randrange(len(lines))
        edits = [chance.json_edit(name, json.loads(lines[number]), "line", number)]
    elif roll < 0.5:
        edits = [[name, "line", chance.randrange(len(lines)), [], chance.value()]]
    elif roll < 0.65:
        edits = chance.byte_edits(name, len(data))
    else:
        other = chance.choice((name, "x.jsonl", ".jsonl", "\u001b[31m.jsonl", "a\nb.jsonl", "last.jsonl", "é.jsonl"))
        edits = [chance.no_file(other)]
    verb = chance.choice(
        (
            ["list"],
            ["list", "--json"],
            ["show", "last"],
            ["show", name[:-6]],
            ["show", chance.word()],
            ["export", "last", "--format", chance.choice(FORMATS)],
            ["delete", "-y", chance.choice(("last", "", "2026", name[:-6], "x", "*"))],
        )
    )
    arguments = ("history", *verb, "--set", f"session.folder={HERE}")
    return Case("sessions", "device-asr", arguments, BASE, tuple(edits), speaks=verb[0] == "list")
