"""Config files, settings given with --set and in the environment."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from device_asr.config import describe
from tests.campaign.case import HERE, Case
from tests.campaign.chance import BRACKETS, NUMBERS, SHAPES, TEXTS, Chance
from tests.campaign.edits import Edit, Text, text_of

BASE = "settings"
FILE = "config.toml"


def keys() -> list[str]:
    """Every setting."""
    return [setting.key for setting in describe()]


def prepare(bases: Path) -> None:
    (bases / BASE).mkdir()
    lines: dict[str, list[str]] = {}
    for setting in describe():
        section, name = setting.key.split(".")
        lines.setdefault(section, []).append(f"{name} = {_toml(setting.default)}")
    text = "\n".join(f"[{section}]\n" + "\n".join(rows) + "\n" for section, rows in lines.items())
    tomllib.loads(text)
    (bases / BASE / FILE).write_text(text, encoding="utf-8")


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value) if isinstance(value, int | float) else '"x"'


def draw(chance: Chance, bases: Path) -> Case:
    roll = chance.random()
    verb = ["transcribe", f"{HERE}/none.wav"] if chance.random() < 0.1 else ["config"]
    if roll < 0.5:
        given = [word for _ in range(chance.choice((1, 1, 3))) for word in ("--set", setting(chance))]
        return Case("settings", "device-asr", (*verb, *given), BASE)
    if roll < 0.6:
        section, name = chance.choice(keys()).split(".")
        variable = f"DEVICE_ASR_{section}_{name}".upper()
        return Case("settings", "device-asr", tuple(verb), BASE, env={variable: chance.word()})
    size = (bases / BASE / FILE).stat().st_size
    if roll < 0.7:
        edits = chance.byte_edits(FILE, size)
    elif roll < 0.75:
        edits = [chance.no_file(FILE)]
    else:
        edits = [table(chance)]
    return Case("settings", "device-asr", (*verb, "--config", f"{HERE}/{FILE}"), BASE, tuple(edits))


def setting(chance: Chance) -> str:
    """A text for --set."""
    key = chance.choice((*keys(), *keys(), "x.y", "audio", "", ".", "a.b.c"))
    return f"{key}{chance.choice(('=', '=', '=', '=', '', '=='))}{chance.word()}"


def table(chance: Chance) -> Edit:
    """A config file of one section."""
    section, name = chance.choice((*keys(), "x.y", '"".""')).split(".", 1)
    roll = chance.random()
    value: Text
    if roll < 0.4:
        value = chance.choice((*NUMBERS, "inf", "-inf", "nan", "1979-05-27", "0x" + "f" * 400, "1_0"))
    elif roll < 0.6:
        value = '"' + "".join(f"\\U{ord(c):08X}" for c in chance.choice(TEXTS)) + '"'
    else:
        value = chance.choice((*SHAPES, '"""\\\n"""', "{a = 1}", {"repeat": "[", "times": BRACKETS}, "[[]]"))
    head = f"[{section}]\n{name} = "
    if isinstance(value, dict):
        return [FILE, "fill", {"repeat": value["repeat"], "times": value["times"]}]
    return [FILE, "fill", head + text_of(value) + "\n"]
