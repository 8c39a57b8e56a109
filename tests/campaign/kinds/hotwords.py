"""Files of custom words."""

from __future__ import annotations

from pathlib import Path

from tests.campaign.case import HERE, Case
from tests.campaign.chance import NUMBERS, TEXTS, Chance
from tests.campaign.edits import Edit
from tests.campaign.kinds import bundle

BASE = "hotwords"
FILE = "words.txt"
WORDS = ("timer", "device asr", "Kubernetes", "# a comment", "naïve", "minutes\t2", "x" * 300, "a b c d e f g h")


def prepare(bases: Path) -> None:
    bundle.prepare(bases)
    (bases / BASE).mkdir()
    (bases / BASE / "timer.wav").write_bytes((bases / bundle.BASE / "timer.wav").read_bytes())
    (bases / BASE / FILE).write_text("\n".join(WORDS), encoding="utf-8")


def draw(chance: Chance, bases: Path) -> Case:
    edits: list[Edit]
    roll = chance.random()
    if roll < 0.2:
        edits = chance.byte_edits(FILE, (bases / BASE / FILE).stat().st_size)
    elif roll < 0.3:
        edits = [chance.no_file(FILE)]
    elif roll < 0.4:
        edits = [[FILE, "fill", {"repeat": chance.choice(("timer\n", "a", "\n", "a\t1\n")), "times": 100_000}]]
    else:
        lines = [_line(chance) for _ in range(chance.choice((1, 1, 3)))]
        edits = [[FILE, "fill", "\n".join(lines)]]
    arguments = ("transcribe", f"{HERE}/timer.wav", "--hotwords", f"{HERE}/{FILE}")
    return Case("hotwords", "device-asr", arguments, BASE, tuple(edits))


def _line(chance: Chance) -> str:
    word = chance.choice((*WORDS, *TEXTS))
    weight = chance.choice((*NUMBERS, "x", "", "1\t1"))
    return word if chance.random() < 0.4 else f"{word}\t{weight}"
