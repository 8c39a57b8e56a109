"""`device-asr`: the command line. Verbs are loaded when they are called."""

from __future__ import annotations

import errno
import importlib
import shlex
import sys
from typing import Any

import click

from device_asr import __version__

VERBS = {
    "demo": "The interface over the shipped audio file.",
    "transcribe": "Audio files or raw PCM to text.",
    "listen": "The microphone to plain text or JSON lines.",
    "history": "List, show, export and delete what was dictated.",
    "replay": "Recognize a recorded session again and show what changed.",
    "devices": "List microphones, test their level.",
    "doctor": "Whether live dictation will keep up on this machine, and with which settings.",
    "models": "List, show, verify and add models.",
    "config": "Show the settings and where each came from.",
    "bench": "Measure accuracy, speed and latency.",
    "soak": "Run the interface for long; measure memory, CPU and drawing.",
}

RUN_PROGRAMS = {"live", "demo", "transcribe", "listen", "replay", "doctor", "bench", "soak"}


class LazyGroup(click.Group):
    """Finds a verb's module by its name; the others stay unloaded."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0].startswith("-") and args[0] not in ("-h", "--help", "--version")):
            args = ["live", *args]  # no verb: the interface
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS and cmd_name != "live":
            return None
        command = importlib.import_module(f"device_asr.commands.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and args[0] not in VERBS and args[0] != "live" and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], VERBS, 1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise click.UsageError(f"Wanted one of {', '.join(VERBS)}, found {args[0]!r}.{hint}", ctx)
        name, command, rest = super().resolve_command(ctx, args)
        if name in RUN_PROGRAMS and not {"-h", "--help"} & set(rest):
            _say_fallback()
        return name, command, rest

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="device-asr")
@click.option("--debug", is_flag=True, help="Show where an unexpected failure happened; also after a command.")
def group(debug: bool) -> None:  # `_run` has taken --debug out; here it is for the help
    """Dictation that runs on the device: nothing you say leaves this machine.

    Without a command: the interface in the terminal (--source FILE, --record, --device NAME).
    """


def main(arguments: list[str] | None = None) -> None:
    """Runs a command; a failure is one sentence on standard error and an exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    sys.exit(_run(arguments))


def _run(arguments: list[str]) -> int:
    from device_asr import console

    end = arguments.index("--") if "--" in arguments else len(arguments)  # behind it are names of files
    own = [argument for argument in arguments[:end] if argument != "--debug"]
    debug = len(own) < end

    def unexpected(error: Exception) -> str:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            return f"{error.filename}: the disk is full; free some of it and call again."
        return (
            f"Unexpected failure ({type(error).__name__}: {error}). Please report it with the output of "
            f"`device-asr --debug {shlex.join(arguments)}`."
        )

    return console.run(
        "device-asr",
        lambda: console.invoke(group, "device-asr", own + arguments[end:]),
        None if debug else unexpected,
    )


def _say_fallback() -> None:
    """Says which runtime is missing. Only the command says it: its processes would say it again."""
    from device_asr.console import echo
    from device_asr.runtime.choice import ABSENT, runtime

    if (chosen := runtime()).fallback and chosen.version != ABSENT:  # else a sentence says that nothing can run
        echo(
            f"device-asr: Slow: {chosen.name} runs the model, {chosen.reason}; it takes three times the memory and the "
            "processor time. Install device-asr again to get the module.",
            err=True,
        )


if __name__ == "__main__":
    main()
