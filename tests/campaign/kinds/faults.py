"""Faults: standard output closed, full or left; kill -9; a disk full for a while; an unplugged microphone.

Each runs the command itself in a process of its own. In the interface a final is lost where its text was on the screen,
with text of a later utterance behind it, and the session's journal does not have it.
"""

from __future__ import annotations

import functools
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.campaign.case import Case, Ending
from tests.campaign.chance import Chance
from tests.support import virtual_microphone
from tests.support.paths import ASSETS, MODEL
from tests.support.terminal import Terminal

LETTER, TIMER = ASSETS / "letter.flac", ASSETS / "timer.flac"
SPEAKING = (  # commands that print
    ("config",),
    ("models", "list"),
    ("models", "show", str(MODEL)),
    ("history", "list"),
    ("transcribe", str(TIMER)),
    ("transcribe", str(TIMER), "--format", "jsonl"),
    ("--help",),
    ("config", "--help"),
)
QUICK = ("closed", "pipe", "full", "out")
SLOW = ("kill", "disk", "unplug")
ENDING = 60.0  # seconds that a command has
ROWS, COLUMNS = 50, 120


def prepare(bases: Path) -> None:
    """Nothing is edited."""


def draw(chance: Chance, bases: Path) -> Case:
    name = chance.choice(QUICK) if chance.random() < 0.8 else chance.choice(SLOW)
    arguments = chance.choice(SPEAKING) if name in ("closed", "pipe", "full") else ()
    seconds = round(chance.uniform(6.0, 18.0), 2)
    return Case("faults", name, (str(seconds), *arguments))


def run(case: Case, folder: Path, product: Path) -> Ending:
    """The ending of one fault; `lost` says what was lost."""
    folder.mkdir(parents=True)
    seconds, *arguments = case.arguments
    env = {
        **os.environ,
        "PYTHONPATH": str(product),
        "HOME": str(folder),
        "XDG_CONFIG_HOME": str(folder / "config"),
        "XDG_DATA_HOME": str(folder / "data"),
    }
    if case.program in QUICK:
        return _printed(case.program, arguments, env, folder)
    if case.program == "unplug":
        return _unplugged(float(seconds), env)
    return _interface(case.program, float(seconds), env, folder, product)


def _command(arguments: Sequence[str]) -> list[str]:
    return [sys.executable, "-P", "-m", "device_asr.cli", *arguments]


# -- standard output -------------------------------------------------------------------------------


def _printed(fault: str, arguments: list[str], env: dict[str, str], folder: Path) -> Ending:
    out: int | None = None
    before: Callable[[], None] | None = None
    if fault == "closed":
        before = functools.partial(os.close, 1)
    elif fault == "full":
        out = os.open("/dev/full", os.O_WRONLY)
    elif fault == "pipe":
        reader, out = os.pipe()
        os.close(reader)
    else:  # a disk that takes 20 bytes of the text
        arguments = ["transcribe", str(TIMER), "--format", "jsonl", "--out", str(folder / "text.jsonl")]
        before = functools.partial(resource.setrlimit, resource.RLIMIT_FSIZE, (20, 20))
    try:
        done = subprocess.run(
            _command(arguments),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.PIPE,
            env=env,
            preexec_fn=before,
            timeout=ENDING,
        )
    except subprocess.TimeoutExpired:
        return Ending(0, True, 0.0, 0, "", "")
    finally:
        if out is not None:
            os.close(out)
    said, lost = done.stderr.decode("utf-8", "replace"), ""
    if fault == "pipe" and said.strip():
        lost = f"not quiet where nobody reads: {said.strip()[:80]}"
    elif fault in ("closed", "full") and not said.strip():
        lost = f"standard output {fault}: not a word about it, exit status {done.returncode}"
    elif fault == "out" and (done.returncode == 0 or list(folder.glob("text*"))):
        lost = f"a text on a full disk: exit status {done.returncode}, {sorted(p.name for p in folder.glob('text*'))}"
    quiet = fault == "pipe"
    return Ending(0 if quiet else done.returncode, False, 0.0, 0, "" if not quiet else "read", said, lost)


# -- the interface ---------------------------------------------------------------------------------


@functools.cache
def reference(product: Path) -> tuple[str, ...]:
    """The utterances of the letter."""
    env = {**os.environ, "PYTHONPATH": str(product)}
    command = _command(["transcribe", str(LETTER), "--format", "jsonl"])
    text = subprocess.run(command, env=env, capture_output=True, text=True, check=True, timeout=ENDING).stdout
    return tuple(json.loads(line)["text"] for line in text.splitlines())


def _interface(fault: str, seconds: float, env: dict[str, str], folder: Path, product: Path) -> Ending:
    sessions = folder / "sessions"
    command = _command(["--source", str(LETTER), "--set", f"session.folder={sessions}"])
    wanted = [squeezed(text) for text in reference(product)]
    with Terminal(command, env, COLUMNS, ROWS) as terminal:
        process = terminal.process
        began = time.monotonic()
        while time.monotonic() - began < seconds and process.poll() is None:
            time.sleep(0.05)
        if fault == "disk" and process.poll() is None:
            _limit_files(process.pid, _largest(sessions) + 10)
            time.sleep(seconds / 2)
            _limit_files(process.pid, resource.RLIM_INFINITY)
            time.sleep(seconds / 2)
        screen = terminal.text
        if process.poll() is not None:
            return Ending(process.wait(), False, 0.0, 0, screen, f"it ended before its time: {screen[-200:]}")
        if fault == "kill":
            process.send_signal(signal.SIGKILL)
        else:
            terminal.press("q")
        try:
            process.wait(ENDING)
        except subprocess.TimeoutExpired:
            return Ending(0, True, 0.0, 0, screen, "")
    lost = [text for text in shown(screen, wanted) if text not in kept(sessions)]
    words = f"finals lost after {fault}: {len(lost)}" if lost else ""
    code = 0 if fault == "kill" else process.returncode
    return Ending(code, False, 0.0, 0, "the interface ran", "" if not code else screen, words)


def _limit_files(pid: int, size: int) -> None:
    """Lets a process write no file beyond `size` bytes, which ends a write as a full disk does."""
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def _largest(folder: Path) -> int:
    return max((path.stat().st_size for path in folder.glob("*.jsonl")), default=0)


def squeezed(text: str) -> str:
    """The text without spaces: the screen wraps lines."""
    return "".join(text.split())


def shown(screen: str, wanted: Sequence[str]) -> list[str]:
    """The utterances on a screen with text of a later one behind them."""
    transcript = squeezed("\n".join(line.split("│")[0] for line in screen.splitlines()))
    found = [text for text in wanted if text in transcript]
    return found[:-1]


def kept(sessions: Path) -> list[str]:
    """The utterances in the journals of a folder."""
    found = []
    for path in sorted(sessions.glob("*.jsonl")):
        for line in path.read_bytes().splitlines():
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if isinstance(record, dict) and record.get("event") == "final":
                found.append(squeezed(str(record.get("text"))))
    return found


# -- the microphone --------------------------------------------------------------------------------


def _unplugged(seconds: float, env: dict[str, str]) -> Ending:
    """`listen` while its microphone is gone for a while: it says so, goes on, and ends when it is asked to."""
    if reason := virtual_microphone.missing():
        return Ending(0, False, 0.0, 0, f"left out: {reason}", "")
    with virtual_microphone.VirtualMicrophone() as microphone:
        process = subprocess.Popen(
            _command(["listen", "--format", "jsonl"]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**env, **microphone.changes},
            text=True,
        )
        try:
            time.sleep(4.0)
            microphone.play(LETTER)
            time.sleep(seconds / 2)
            microphone.unplug()
            time.sleep(3.0)
            microphone.plug()
            time.sleep(3.0)
            microphone.play(TIMER, wait=True)
            time.sleep(3.0)
            early = process.poll()
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=ENDING)
        except subprocess.TimeoutExpired:
            return Ending(0, True, 0.0, 0, "", "")
        finally:
            process.kill()
    lost = "" if early is None else f"listen ended with {early} when its microphone was unplugged"
    if not lost and "timer" not in out:
        lost = "nothing was written after the microphone came back"
    return Ending(0, False, 0.0, 0, out, err, lost)
