"""Where a command meets the terminal or the pipe that called it: one door for its text, one end for its failures."""

from __future__ import annotations

import contextlib
import errno
import io
import math
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, TextIO

import click

from device_asr.errors import DeviceAsrError, OutputError
from device_asr.printable import printable, short

READER_LEFT = 141  # as a shell reports a program that ended by SIGPIPE, which is how most end behind `| head -1`
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
REFUSED = (*FULL, errno.EIO, errno.EBADF, errno.EROFS)  # what writing to standard output fails with


CLOSED = (
    "standard output is closed (>&-); wanted a terminal, a file or a pipe there: leave >&- out, or write `> /dev/null`."
)


class ClosedOutput(io.TextIOBase):
    """Standard output where the caller has closed it (`>&-`).

    Raises:
        OutputError: something is written; a command that writes a file instead is not disturbed.
    """

    encoding = "utf-8"

    def write(self, text: str) -> int:
        if text:
            raise OutputError(CLOSED)
        return 0


class FiniteRange(click.FloatRange):
    """A number of an option within a range; click takes `nan` for one that is, and `inf` where there is no maximum."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"wanted a finite number, found {short(value)}.", param, ctx)
        return number


def echo(text: object = "", *, err: bool = False, nl: bool = True, file: TextIO | None = None) -> None:
    """Prints text for a person or a pipe: the door that every text of a command takes.

    Control characters other than newlines and tabs become escapes, as names of files, devices and models may have
    them.
    """
    click.echo(printable(f"{text}", lines=True), file=file, err=err, nl=nl)


def invoke(group: click.Group, program: str, arguments: Sequence[str]) -> int:
    """Runs a verb of click's and returns its exit code.

    `group.main` is not called, as it has an end of its own for a reader that left, another one in each version.
    """
    if f"_{program.replace('-', '_')}_COMPLETE".upper() in os.environ:  # a shell asks for completions
        return int(group.main(list(arguments), program, standalone_mode=False) or 0)
    try:
        with group.make_context(program, list(arguments)) as context:
            return int(group.invoke(context) or 0)
    except click.exceptions.Exit as done:
        return done.exit_code


def run(
    program: str,
    call: Callable[[], int],
    unexpected: Callable[[Exception], str] | None = None,
    stopped: str = "",
) -> int:
    """Runs a command and returns its exit code; a failure is one sentence on standard error.

    Args:
        program: begins each sentence.
        call: the command, see `invoke`; it returns its exit code.
        unexpected: the sentence for a failure that is no error of the project; None: such a failure is raised.
        stopped: the sentence after Ctrl-C, if any.
    """
    _open_missing()
    try:
        code = call()
        if sys.stdout is not None:
            sys.stdout.flush()  # here, so that what fails is told as any other failure
        return code
    except click.ClickException as error:
        shown = io.StringIO()
        error.show(shown)
        with contextlib.suppress(OSError):
            echo(shown.getvalue(), err=True, nl=False)
        return error.exit_code
    except DeviceAsrError as error:
        return _failed(program, str(error), error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        return _failed(program, stopped, 130)
    except BrokenPipeError:
        drop_output()  # the reader has enough: there is nothing to say
        return READER_LEFT
    except Exception as error:
        if isinstance(error, OSError) and error.errno in REFUSED and error.filename is None:
            return _failed(program, _not_written(error), 1)
        if unexpected is None:
            raise
        return _failed(program, unexpected(error), 1)


def require_output() -> None:
    """Raises OutputError where standard output is closed: before the work whose text would go there."""
    if isinstance(sys.stdout, ClosedOutput):
        raise OutputError(CLOSED)


def output_or_nothing() -> TextIO:
    """Standard output, or a stream to nowhere where it is closed: for text that another program gets, too."""
    if isinstance(sys.stdout, ClosedOutput):
        return open(os.devnull, "w", encoding="utf-8")
    return sys.stdout


def drop_output() -> None:
    """Points standard output to nowhere, so that Python does not fail again when it flushes at the end."""
    with contextlib.suppress(OSError, ValueError):
        descriptor = sys.stdout.fileno()
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, descriptor)
        os.close(null)


def _failed(program: str, sentence: str, code: int) -> int:
    """Says the sentence; returns the code."""
    with contextlib.suppress(OSError):  # nobody reads standard error either
        if sentence:
            click.echo(f"{program}: {printable(sentence)}", err=True)
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except (OSError, ValueError):
        drop_output()
    return code


def _not_written(error: OSError) -> str:
    """The sentence for a standard output that takes no more."""
    if error.errno in FULL:
        return "standard output: the disk is full; free some of it and call again."
    return f"standard output: it cannot be written ({error.strerror}); send it elsewhere and call again."


def _open_missing() -> None:
    """Opens the standard descriptors that the caller has closed: else the next file that is opened becomes one."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    if sys.stdout is None:
        sys.stdout = ClosedOutput()
    if sys.stderr is None:  # `print` and click would write to standard output instead
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
