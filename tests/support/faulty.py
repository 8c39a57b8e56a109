"""Runs scenarios in which each call that changes a file fails in turn, and prints what went wrong as JSON.

It is a program: `LD_PRELOAD=faulty_disk.so python -m tests.support.faulty FOLDER`. See `faulty_disk.c`.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import io
import json
import os
import shutil
import sys
import time
import wave
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from device_asr import cli
from device_asr.commands.live import report
from device_asr.commands.parts.output import Output
from device_asr.dictation.history import load
from device_asr.dictation.session_writer import SessionWriter
from device_asr.errors import OutputError
from device_asr.events import Partial
from tests.support.finals import final

ERRORS = (errno.ENOSPC, errno.EIO, errno.EROFS)
INTERVAL = 0.01
NEVER = 10**6
LIBRARY = ctypes.CDLL(None)
TEXTS = [f"Utterance {n}." for n in range(4)]


@contextlib.contextmanager
def failing(folder: Path, after: int, count: int, number: int) -> Iterator[Callable[[], int]]:
    """See `fault_arm`; gives what ends it before, and says how many calls there were."""
    LIBRARY.fault_arm(os.fsencode(folder), ctypes.c_long(after), ctypes.c_long(count), number)
    try:
        yield LIBRARY.fault_disarm
    finally:
        LIBRARY.fault_disarm()


class Case:
    """One fault in one scenario."""

    def __init__(self, folder: Path, after: int, count: int, number: int) -> None:
        self.folder, self.after, self.count, self.number = folder, after, count, number
        self.problems: list[str] = []
        self.calls = 0

    def wrong(self, holds: object, what: str) -> None:
        """Notes what went wrong, where `holds` is false."""
        if not holds:
            times = "once" if self.count == 1 else "from there on"
            self.problems.append(f"{errno.errorcode[self.number]} at call {self.after} {times}: {what}")

    def fault(self) -> contextlib.AbstractContextManager[Callable[[], int]]:
        return failing(self.folder, self.after, self.count, self.number)


def session(case: Case) -> None:
    """A dictated session with its recording: refused at its beginning, or every final is kept or said not to be."""
    stopped = []
    folder = case.folder / "sessions"
    with case.fault() as lift:
        try:
            writer = SessionWriter(folder, record=True, interval=INTERVAL)
        except OutputError:
            lift()
            case.wrong(case.count < 0 or not list(case.folder.rglob("*.*")), "a session that was refused left a file")
            return
        for n in range(3):
            try:
                writer.audio(np.full(20_000, 0.1, np.float32))
            except OutputError as error:
                stopped.append(str(error))
            writer.partial(Partial(n, TEXTS[n][:5], "", n, n, n))
            writer.final(final(TEXTS[n], n, n + 0.5, n))
        writer.edit(1, "Edited.")
        time.sleep(3 * INTERVAL)
        if not writer.close():
            unkept = writer.unkept
            case.wrong(writer.trouble, "what is not kept has no reason")
            lost = set(TEXTS[:3]) - {line.final.text for line in load(writer.path).lines} - set(unkept)
            case.wrong(not lost, f"{lost} is neither kept nor said to be missing")
            out, err = io.StringIO(), io.StringIO()
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                said = report(writer.path, unkept, writer.trouble)
            case.wrong(said and str(len(unkept)) in said, "it is not said how much is missing")
            case.wrong(all(text in out.getvalue() for text in unkept), "the missing text was not printed")
            case.wrong("The text is kept" not in err.getvalue(), "it was said that all text was kept")
        case.calls = lift()
        writer.close() or writer.final(final(TEXTS[3], 3, 3.5, 3))
        case.wrong(writer.close(), "a disk that works again was not written to")
    found = load(writer.path)
    texts = [line.final.text for line in found.lines]
    case.wrong(texts[:3] == TEXTS[:3] and not found.damaged, f"found {texts}, {found.damaged} damaged")
    case.wrong(found.lines[1].text == "Edited.", "the edit is missing")
    case.wrong(all("Recording has stopped" in sentence for sentence in stopped) and len(stopped) < 2, f"{stopped}")
    if found.recording is not None:
        with wave.open(str(found.recording)) as audio:
            frames = audio.getnframes()
        size = found.recording.stat().st_size
        case.wrong(frames * 2 + 44 <= size, f"the recording's header says {frames} frames of {size} bytes")
        case.wrong(stopped or frames == 60_000 or case.calls > 0, f"{frames} frames without a word")


def transcript(case: Case) -> None:
    """A text that takes the place of a former one: whole, or the former one stays."""
    target = case.folder / "letter.txt"
    target.write_text("before\n")
    with case.fault() as lift:
        output = None
        try:
            output = Output("txt", target)
            for n in range(2):
                output.final(final(TEXTS[n], n, n + 1, n))
            output.done()
            wanted = "".join(f"{text}\n" for text in TEXTS[:2])
        except OutputError:
            if output is not None:
                output.abandon()
            wanted = "before\n"
        case.calls = lift()
    case.wrong(target.read_text() == wanted, f"found {target.read_text()!r}")
    case.wrong(case.count < 0 or os.listdir(case.folder) == ["letter.txt"], f"left {os.listdir(case.folder)}")


def verb(*arguments: str) -> Callable[[Case], None]:
    """A verb that writes: it works, or ends with one sentence."""

    def run(case: Case) -> None:
        writer = SessionWriter(case.folder / "sessions", record=True)
        writer.final(final("Whole.", 0, 1))
        writer.close()
        places = {"SESSION": writer.id, "FOLDER": str(case.folder)}
        words = [places.get(word, word.replace("FOLDER", str(case.folder))) for word in arguments]
        out, err = io.StringIO(), io.StringIO()
        with case.fault() as lift, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                cli.main(words)
            except SystemExit as end:
                code = end.code
            case.calls = lift()
        said = err.getvalue()
        case.wrong(code in (0, 1), f"exit code {code}")
        case.wrong("Unexpected" not in said and "Traceback" not in said, said)
        case.wrong((code == 0) == (not said), f"exit code {code} with {said!r}")
        case.wrong(not list(case.folder.rglob("*.partial")) or case.count < 0, "a half-written file was left")

    return run


SET = ("--set", "session.folder=FOLDER/sessions")
SCENARIOS: dict[str, Callable[[Case], None]] = {
    "session": session,
    "transcribe --out": transcript,
    "history export": verb("history", "export", "last", "-o", "FOLDER/letter.srt", *SET),
    "history delete": verb("history", "delete", "last", "--yes", *SET),
    "config --init": verb("config", "--init"),
}


def main(folder: Path) -> None:
    """Prints, by scenario, the number of faults and what went wrong."""
    os.environ["XDG_CONFIG_HOME"] = str(folder / "case")
    found = {}
    for name, scenario in SCENARIOS.items():
        calls = tried(scenario, folder, NEVER, 1, errno.EIO).calls
        cases = [
            tried(scenario, folder, after, count, number)
            for number in ERRORS
            for count in (1, -1)
            for after in range(calls)
        ]
        found[name] = {"calls": calls, "faults": len(cases), "problems": [p for case in cases for p in case.problems]}
    json.dump(found, sys.stdout)


def tried(scenario: Callable[[Case], None], folder: Path, after: int, count: int, number: int) -> Case:
    """A scenario with one fault, in an empty folder."""
    place = folder / "case"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    case = Case(place, after, count, number)
    try:
        scenario(case)
    except Exception as error:
        case.wrong(False, f"{type(error).__name__}: {error}")
    return case


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
