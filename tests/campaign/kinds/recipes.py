"""What `device-asr-compress` reads besides checkpoints: recipes, ablations, device profiles, manifests of clips."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from compress.paths import ABLATION, DEVICES, RECIPES
from tests.campaign.case import HERE, Case
from tests.campaign.chance import BRACKETS, NUMBERS, TEXTS, Chance
from tests.campaign.edits import Edit
from tests.support.paths import ASSETS

BASE = "recipes"
VALUES = ("inf", "-inf", "nan", "true", '""', '"x"', "[]", "{}", "[[]]", "[1, 2]", '["a"]', "{a = 1}", "1979-05-27")


def prepare(bases: Path) -> None:
    folder = bases / BASE
    folder.mkdir()
    for kind, source in (("recipe", RECIPES), ("ablation", ABLATION), ("profile", DEVICES)):
        for path in sorted(source.glob("*.toml")):
            (folder / f"{kind}-{path.name}").write_bytes(path.read_bytes())
    clips = [{"audio": "timer.flac", "text": "Set a timer.", "speaker": None, "duration": 2.0}] * 3
    (folder / "manifest.jsonl").write_text("".join(json.dumps(clip) + "\n" for clip in clips))
    (folder / "timer.flac").write_bytes((ASSETS / "timer.flac").read_bytes())


def draw(chance: Chance, bases: Path) -> Case:
    name = chance.choice(sorted(path.name for path in (bases / BASE).iterdir() if path.suffix != ".flac"))
    program = re.split(r"[-.]", name)[0]
    data = (bases / BASE / name).read_bytes()
    edits: list[Edit]
    roll = chance.random()
    if roll < 0.15:
        edits = chance.byte_edits(name, len(data))
    elif roll < 0.2:
        edits = [chance.no_file(name)]
    elif program == "manifest":
        number = chance.randrange(3)
        edits = [chance.json_edit(name, json.loads(data.splitlines()[number]), "line", number)]
    else:
        edits = [[name, "fill", changed(chance, data.decode())]]
    if program == "recipe" and chance.random() < 0.2:
        arguments = ("--recipe", f"{HERE}/{name}", "--out", f"{HERE}/out", "--teacher", f"{HERE}/no-such-teacher")
        return Case("recipes", "device-asr-compress", ("build", *arguments), BASE, tuple(edits))
    return Case("recipes", program, (f"{HERE}/{name}",), BASE, tuple(edits))


def changed(chance: Chance, text: str) -> Any:
    """A TOML text with other values of one key, an unknown key, or a key twice."""
    lines = text.splitlines()
    assigned = [at for at, line in enumerate(lines) if re.match(r"[\w.-]+ *= *", line)]
    if chance.random() < 0.05 or not assigned:
        return {"repeat": chance.choice(("[", "a.", "[[a]]\n", "a = [")), "times": BRACKETS // 10}
    at = chance.choice(assigned)
    key = lines[at].split("=")[0]
    quoted = '"' + "".join(f"\\U{ord(c):08X}" for c in chance.choice(TEXTS) if not 0xD800 <= ord(c) < 0xE000) + '"'
    value = chance.choice((*VALUES, chance.choice(NUMBERS), chance.choice(NUMBERS), quoted))
    roll = chance.random()
    if roll < 0.75:
        lines[at] = f"{key}= {value}"
    elif roll < 0.85:
        lines[at : at + 1] = []
    elif roll < 0.95:
        lines.insert(at, f"{chance.choice(('x', 'stages', 'do', 'name', 'quantize', key.strip()))} = {value}")
    else:
        lines.insert(at, chance.choice(("[[stages]]", "[quantize]", "[stream]", "[x.y]", "[corpus]", "[name]")))
    return "\n".join(lines) + "\n"
