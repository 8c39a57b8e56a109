"""Command lines of both programs: verbs, options with odd values, words that are no option."""

from __future__ import annotations

from pathlib import Path

import click

import compress.cli
import device_asr.cli
from tests.campaign.case import Case
from tests.campaign.chance import Chance
from tests.campaign.kinds import sound

BASE = sound.BASE
# verbs that open a microphone or the interface, measure for minutes, or work for hours when nothing stops them
LONG = {"live", "demo", "listen", "soak", "doctor", "devices", "build", "search", "report", "ablate", "sensitivity"}
LONG |= {"vocabulary", "chunk-sweep", "cost-by-length", "deploy"}
COSTLY = {"--noise", "--new", "--peer", "--minutes", "--realtime", "--player", "--device", "--add"}
PROGRAMS = {"device-asr": device_asr.cli.group, "device-asr-compress": compress.cli.group}


def prepare(bases: Path) -> None:
    sound.prepare(bases)


def draw(chance: Chance, bases: Path) -> Case:
    program = chance.choice(("device-asr", "device-asr", "device-asr-compress"))
    command: click.Command = PROGRAMS[program]
    words: list[str] = []
    while isinstance(command, click.Group):
        context = click.Context(command)
        names = [name for name in command.list_commands(context) if not words or name not in LONG]
        verb = chance.choice(names)
        if chance.random() < 0.05:
            verb = chance.word()
        words.append(verb)
        found = command.get_command(context, verb)
        if found is None:
            return Case("arguments", program, tuple(words), BASE)
        command = found
    long = words[0] in LONG
    for _ in range(chance.randrange(4)):
        words += option(chance, command)
    words += [chance.word() for _ in range(chance.choice((0, 1, 1, 2)))]
    if long:
        words.append("--no-such-option")  # it is refused behind everything else that is wrong
    return Case("arguments", program, tuple(words), BASE, speaks=False)


def option(chance: Chance, command: click.Command) -> list[str]:
    """An option with a value, right or odd."""
    options = [p for p in command.params if isinstance(p, click.Option) and not COSTLY & set(p.opts)]
    if not options or chance.random() < 0.1:
        return [chance.choice(("--debug", "--x", "-", "--", "-é", "--config", "--set="))]
    chosen = chance.choice(options)
    if chosen.is_flag or chosen.count:
        return [chance.choice([*chosen.opts, *chosen.secondary_opts])]
    return [chosen.opts[0], chance.word()] if chance.random() < 0.9 else [chosen.opts[0]]
