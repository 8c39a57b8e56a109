"""`device-asr listen`: the microphone to plain text or JSON lines, for pipes and screen readers."""

from __future__ import annotations

import json
import queue
import sys
from typing import TYPE_CHECKING, TextIO

import click

from device_asr.commands.parts.microphone import with_microphone
from device_asr.commands.parts.progress import LiveLine
from device_asr.commands.parts.termination import termination_as_interrupt
from device_asr.console import FiniteRange, echo, output_or_nothing, require_output
from device_asr.errors import DeviceAsrError, OutputError
from device_asr.events import AudioGap, Failed, Final, Partial, to_record
from device_asr.writers import make_writer

if TYPE_CHECKING:
    from device_asr.audio.live_source import LiveSource
    from device_asr.config import Config
    from device_asr.dictation.handover import Handover
    from device_asr.dictation.session import LiveSession, RecognizerFactory
    from device_asr.dictation.state import Delivery

POLL = 0.1  # seconds between two checks whether the session has ended
QUIET_NOTICES = ("device_opened", "model_ready", "source_ended")  # shown on a terminal only


class Printer:
    """Writes deliveries: Finals to `out`, the moving Partial and notices to `err`.

    The Partial is one line that is drawn over, and only where `err` is a terminal.
    """

    def __init__(self, format: str, out: TextIO, err: TextIO, handovers: list[Handover]) -> None:
        self._writer = make_writer(format)
        self._format, self._out, self._err, self._handovers = format, out, err, handovers
        self._line = LiveLine(err, dim=True)

    def show(self, delivery: Delivery) -> None:
        """Writes one delivery.

        Raises:
            BrokenPipeError: nobody reads `out` any more.
            OutputError: `out` cannot be written, such as a full disk.
        """
        from device_asr.dictation.state import Notice

        event = delivery.event
        if isinstance(event, Partial):
            self._line.draw(event.text)
        elif isinstance(event, Final):
            self._print(self._writer.final(event))
            for handover in self._handovers:
                handover.send(event.text)
        elif isinstance(event, AudioGap):
            if self._format == "jsonl":
                self._print(json.dumps(to_record(event)) + "\n")
            self.report(f"{event.lost * 1000:.0f} ms of audio were lost ({event.reason}).")
        elif isinstance(event, Notice):
            (self.hint if event.kind in QUIET_NOTICES else self.report)(event.message)

    def report(self, message: str) -> None:
        """A line for the person, beside the text."""
        self._line.clear()
        echo(message, file=self._err)

    def hint(self, message: str) -> None:
        """A line for the person, on a terminal only."""
        if self._line.terminal:
            self.report(message)

    def _print(self, text: str) -> None:
        self._line.clear()
        try:
            self._out.write(text)
            self._out.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputError(
                f"The text could not be written: {error.strerror}; free the disk or change where standard output goes."
            ) from None


def listen(source: LiveSource, make_recognizer: RecognizerFactory, config: Config, printer: Printer) -> None:
    """Listens until the source ends or Ctrl-C, which finishes the utterance in progress.

    Raises:
        KeyboardInterrupt: a second Ctrl-C.
        DeviceAsrError: no microphone, no model, or a failure while listening.
        BrokenPipeError: nobody reads the text.
    """
    from device_asr.dictation.session import LiveSession

    deliveries: queue.SimpleQueue[Delivery] = queue.SimpleQueue()
    session = LiveSession(source, make_recognizer, config, deliveries.put)
    session.start()
    try:
        try:
            _show_all(session, deliveries, printer)
        except KeyboardInterrupt:
            printer.hint("Finishing the utterance; Ctrl-C again ends at once.")
            session.stop(timeout=0)
            _show_all(session, deliveries, printer)
    finally:
        session.abort()


def _show_all(session: LiveSession, deliveries: queue.SimpleQueue[Delivery], printer: Printer) -> None:
    while True:
        ended = session.wait(0)  # first, so that a delivery between the two calls is not left behind
        try:
            delivery = deliveries.get(timeout=0 if ended else POLL)
        except queue.Empty:
            if ended:
                return
            continue
        if isinstance(delivery.event, Failed):
            raise DeviceAsrError(delivery.event.message)
        printer.show(delivery)


def run(config: Config, format: str, command: str | None, type_text: bool, timeout: float) -> None:
    """Listens to the microphone until Ctrl-C; prints, and hands each utterance to `command` or to the window."""
    from device_asr.audio.devices import silenced_libraries
    from device_asr.audio.microphone import MicrophoneSource
    from device_asr.dictation import remote
    from device_asr.dictation.handover import Handover, typing_command

    if not (type_text or command):
        require_output()
    typing = typing_command() if type_text else None
    with silenced_libraries(), termination_as_interrupt():
        handovers: list[Handover] = []
        printer = Printer(format, output_or_nothing(), sys.stderr, handovers)
        if typing is not None:
            handovers.append(Handover(typing, " ", printer.report))
        if command is not None:
            handovers.append(Handover(command, "\n", printer.report, timeout=timeout))
        left = None
        try:
            listen(MicrophoneSource(config.audio), lambda: remote.load(config), config, printer)
        except BrokenPipeError as error:
            left = error  # the reader has enough; the commands still get every text
        for handover in handovers:
            finish(handover, printer)
        if left is not None:
            raise left


def finish(handover: Handover, printer: Printer) -> None:
    """Waits until a command was given every text.

    Raises:
        KeyboardInterrupt: Ctrl-C; a line says how many texts were not handed over.
    """
    if handover.waiting:
        printer.hint(f"{handover.name!r} still works on {handover.waiting} utterances; Ctrl-C again ends at once.")
    try:
        handover.close()
    except KeyboardInterrupt:
        if handover.waiting:
            printer.report(f"{handover.name!r} has not taken the last {handover.waiting} utterances.")
        raise


@click.command(name="listen")
@click.option(
    "--format",
    type=click.Choice(["txt", "jsonl"]),
    default="txt",
    show_default=True,
    help="Plain text, or one JSON object a line.",
)
@click.option(
    "--exec",
    "command",
    metavar="CMD",
    help="Run this shell command for each utterance, with the text on its standard input; up to 100 wait for it.",
)
@click.option(
    "--exec-timeout",
    "timeout",
    type=FiniteRange(0.1, 3600),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="Kill the command of --exec when it takes longer for one utterance.",
)
@click.option("--type", "type_text", is_flag=True, help="Type into the focused window, with wtype, xdotool or ydotool.")
@with_microphone
def command(format: str, command: str | None, timeout: float, type_text: bool, config: Config) -> None:
    """Print what is said into the microphone, one utterance a line, until Ctrl-C."""
    run(config, format, command, type_text, timeout)
