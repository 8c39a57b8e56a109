"""`device-asr-compress`: the command line. Verbs are loaded when they are called."""

from __future__ import annotations

import difflib
import importlib
import logging
import sys
import warnings
from typing import Any

import click

from device_asr import console
from device_asr.errors import DeviceAsrError, OutputError

VERBS = {
    "build": "Make a bundle of a teacher: the recipe's stages, quantization, export.",
    "evaluate": "Print a model's fp32 text of every clip, or its WER.",
    "vocabulary": "WER against vocabulary size, as a table.",
    "sensitivity": "WER saved by more bits for each group of layers, as a table.",
    "ablate": "Build and measure a model for every technique, as a table.",
    "chunk-sweep": "WER, latency and cost of partials by chunk size and context, as a table.",
    "cost-by-length": "Cost of partials by utterance length, as a figure.",
    "search": "Find the best model that a device holds.",
    "profile": "List the device profiles, or measure this machine into a new one.",
    "deploy": "Make an archive that installs the program and a model on a device.",
    "report": "Write one HTML file about a search or build.",
}
FORMER = {"compare": "ablate", "chunks": "chunk-sweep", "growth": "cost-by-length"}


class LazyGroup(click.Group):
    """Finds a verb's module by its name; the others stay unloaded."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        try:
            command = importlib.import_module(f"compress.commands.{cmd_name.replace('-', '_')}").command
        except ModuleNotFoundError as error:
            if (error.name or "").split(".")[0] in ("compress", "device_asr"):
                raise
            raise DeviceAsrError(
                f"{cmd_name} wants the packages of the extra `compress` ({error}); run: "
                "pip install 'device-asr[compress]'"
            ) from None
        assert isinstance(command, click.Command)
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and args[0] in FORMER:
            raise click.UsageError(f"{args[0]!r} is now called {FORMER[args[0]]!r}.", ctx)
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], VERBS, 1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise click.UsageError(f"Wanted one of {', '.join(VERBS)}, found {args[0]!r}.{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
def group() -> None:
    """Makes small int8 models out of large teachers."""


def _quiet() -> None:
    """Keeps notes that libraries write to their own developers off the screen; this program's warnings stay."""
    for name in ("torchao", "torch.utils._pytree"):  # kernels for other processors; pytree registrations
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", "`isinstance\\(treespec, LeafSpec\\)` is deprecated", FutureWarning)


def main() -> None:
    """Runs the command; a failure is one sentence and an exit code."""
    _quiet()
    sys.exit(console.run("device-asr-compress", _group, stopped="Stopped; run the same command to go on."))


def _group() -> int:
    """Runs the verb; what the system refuses is an error of the project."""
    try:
        return console.invoke(group, "device-asr-compress", sys.argv[1:])
    except BrokenPipeError:
        raise
    except OSError as error:
        if error.filename is None and error.errno in console.REFUSED:
            raise  # standard output
        where = f"{error.filename}: " if error.filename else ""
        raise OutputError(f"{where}{error.strerror or error}; nothing was replaced.") from None


if __name__ == "__main__":
    main()
