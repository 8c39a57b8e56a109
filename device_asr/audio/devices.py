"""Capture devices: list them, choose one, and have PortAudio look again."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from device_asr.errors import DeviceError
from device_asr.printable import printable

DEFAULT = "default"  # in a priority list: the system's default at that moment
LISTING_TIMEOUT = 20.0  # seconds
_lock = threading.RLock()  # PortAudio's initialization is process-wide and not thread-safe


@dataclass(frozen=True, slots=True)
class Device:
    """A capture device as PortAudio sees it; `rate` is its own default in Hz.

    Control characters in its names, which come from the hardware, become escapes.
    """

    index: int
    name: str
    host: str
    channels: int
    rate: int
    default: bool

    def __post_init__(self) -> None:
        for name in ("name", "host"):
            object.__setattr__(self, name, printable(getattr(self, name)))


def portaudio() -> Any:
    """The `sounddevice` module, imported and initialized on first use.

    Raises:
        DeviceError: PortAudio is not installed, or cannot start.
    """
    try:
        with _lock:
            import sounddevice
    except OSError as error:
        raise DeviceError(
            "The microphone needs the PortAudio library, which was not found; install it "
            f"(Debian, Ubuntu: sudo apt install libportaudio2). [{error}]"
        ) from None
    except Exception as error:  # sounddevice.PortAudioError out of Pa_Initialize, on import
        raise DeviceError(f"PortAudio did not start: {error}; is the audio system running?") from None
    return sounddevice


def refresh() -> None:
    """Has PortAudio look at the hardware again; every open stream of the process must be closed before.

    PortAudio lists devices once, at initialization, so a device that was plugged in later is seen
    only after ending and initializing it again (40 ms).
    """
    sd = portaudio()
    with _lock:
        with contextlib.suppress(sd.PortAudioError):  # not initialized: a former refresh failed half-way
            sd._terminate()
        try:
            sd._initialize()
        except sd.PortAudioError as error:
            raise DeviceError(f"PortAudio did not start again: {error}; is the audio system running?") from None


def list_devices() -> list[Device]:
    """The devices that can capture, as of the last `refresh`; empty where there are none."""
    sd = portaudio()
    with _lock:
        hosts = sd.query_hostapis()
        default = sd.default.device[0]
        if default < 0 and hosts:
            default = hosts[0]["default_input_device"]
        return [
            Device(
                info["index"],
                info["name"],
                hosts[info["hostapi"]]["name"],
                info["max_input_channels"],
                int(info["default_samplerate"]),
                info["index"] == default,
            )
            for info in sd.query_devices()
            if info["max_input_channels"] > 0
        ]


def list_afresh() -> list[Device]:
    """The devices as they are now, found by a process of its own (0.1 s), as a stream may be open here.

    Raises:
        DeviceError: PortAudio is missing or does not start.
    """
    program = (
        "import json, dataclasses; from device_asr.audio.devices import list_devices; "
        "print(json.dumps([dataclasses.asdict(d) for d in list_devices()]))"
    )
    import subprocess

    result = subprocess.run(
        [sys.executable, "-c", program],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LISTING_TIMEOUT,
    )
    if result.returncode:
        return list_devices()  # raises the sentence, or gives the devices that are known
    return [Device(**record) for record in json.loads(result.stdout.splitlines()[-1])]


def matches(device: Device, wanted: str) -> bool:
    """Whether `wanted` (an index, `default`, or part of the name in any case) means `device`."""
    if wanted.casefold() == DEFAULT:
        return device.default
    if wanted.isdigit():
        return device.index == int(wanted)
    return wanted.casefold() in device.name.casefold()


def by_name(devices: Sequence[Device], wanted: Sequence[str]) -> tuple[str, ...]:
    """The priority list with names for indices: PortAudio numbers anew when a device comes or goes."""
    names = {str(device.index): device.name for device in devices}
    return tuple(names.get(name, name) for name in wanted)


def choose(devices: Sequence[Device], wanted: Sequence[str]) -> Device:
    """The first device that the priority list `wanted` names; an empty list means the default.

    A name that is matched exactly goes before one that is matched in part.

    Raises:
        DeviceError: there are no devices, or none that is wanted.
    """
    if not devices:
        raise DeviceError(
            "No microphone was found; plug one in or start the sound server, then look with `device-asr devices`."
        )
    for name in wanted or (DEFAULT,):
        exact = [d for d in devices if d.name.casefold() == name.casefold()]
        for device in exact or devices:
            if exact or matches(device, name):
                return device
    if not wanted:
        return devices[0]  # capture devices, but none of them is the system's default
    found = ", ".join(f"{d.index} {d.name!r}" for d in devices)
    names = " or ".join(repr(name) for name in wanted)
    raise DeviceError(f"No microphone matches {names}; found {found}.")


@contextlib.contextmanager
def silenced_libraries(*, output: bool = False) -> Iterator[None]:
    """Keeps what libraries in C print away from the terminal and from the text, for the length of a command.

    ALSA, JACK and PortAudio write to file descriptor 2 (`Expression 'r' failed in ...` on each unplugging), across the
    interface's screen; libsndfile writes to descriptor 1 (`Error A : DE` for a damaged .sds), between lines of JSON.
    Python's own streams go on to where they went by a copy of the descriptor.

    Args:
        output: whether descriptor 1 is silenced too, as where audio files are read. Programs that are started within
            then print nothing.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(_silenced("stderr", 2))
        if output:
            stack.enter_context(_silenced("stdout", 1))
        yield


@contextlib.contextmanager
def _silenced(name: str, descriptor: int) -> Iterator[None]:
    """Points a standard descriptor to nowhere; `sys.stderr` or `sys.stdout` goes on by a copy of it."""
    python, original = getattr(sys, name), getattr(sys, f"__{name}__")
    if original is None:
        yield
        return
    original.flush()
    kept = os.dup(descriptor)
    errors = "backslashreplace" if name == "stderr" else original.errors
    # standard error is drawn on line by line, also where it is no terminal
    stream = os.fdopen(kept, "w", 1 if name == "stderr" else -1, encoding=original.encoding, errors=errors)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, descriptor)
    os.close(null)
    setattr(sys, f"__{name}__", stream)  # the interface draws on it
    if python is original:
        setattr(sys, name, stream)
    try:
        yield
    finally:
        try:
            stream.flush()
        finally:
            os.dup2(kept, descriptor)
            setattr(sys, name, python)
            setattr(sys, f"__{name}__", original)
            with contextlib.suppress(OSError):
                stream.close()
