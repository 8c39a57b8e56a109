"""The microphone, the sound server, and the right to record."""

from __future__ import annotations

import threading
from collections.abc import Callable

from device_asr.audio.level_test import SILENCE_AFTER, LevelTest, MeasuredLevel, record_level
from device_asr.config import AudioConfig
from device_asr.doctor.check import NOT_KNOWN, OK, WARNING, Check
from device_asr.doctor.facts import SoundFacts
from device_asr.errors import DeviceError
from device_asr.events import Seconds

LISTEN: Seconds = SILENCE_AFTER + 0.5  # long enough to tell digital silence from a quiet room
OPENING: Seconds = 10.0  # a Bluetooth headset takes 3 s; a sound server that hangs never answers


def check_server(sound: SoundFacts) -> Check:
    """Which sound server answers."""
    figures = {"servers": list(sound.servers)}
    if sound.servers:
        return Check("sound_server", OK, f"{' and '.join(sound.servers)} answers.", figures)
    if sound.captures:
        return Check("sound_server", OK, "No sound server answers; ALSA is used by itself.", figures)
    return Check("sound_server", WARNING, "No sound server answers, and ALSA has no device that captures.", figures)


def check_permissions(sound: SoundFacts) -> Check:
    """Whether this user may open the devices that capture."""
    figures = {
        "captures": list(sound.captures),
        "readable": list(sound.readable),
        "in_audio_group": "audio" in sound.groups,
    }
    if not sound.captures:
        return Check(
            "permissions", NOT_KNOWN, "/dev/snd has no device that captures, so there is nothing to open.", figures
        )
    closed = sorted(set(sound.captures) - set(sound.readable))
    if not closed:
        return Check("permissions", OK, f"{len(sound.captures)} devices may be opened.", figures)
    advice = (
        "this user is not in the group audio: `sudo usermod -aG audio $USER`, then log in again"
        if "audio" not in sound.groups
        else "this user is in the group audio, so look at the device's own rights with `ls -l /dev/snd`"
    )
    return Check("permissions", WARNING, f"{', '.join(closed)} may not be opened; {advice}.", figures)


def check_microphone(
    audio: AudioConfig,
    record: Callable[[AudioConfig, Seconds], MeasuredLevel] = record_level,
    seconds: Seconds = LISTEN,
) -> Check:
    """Records the microphone that would be used, as `device-asr devices --test` does.

    A warning where there is none, where it is silent or clips, or where the sound system does not answer.
    """
    found: list[MeasuredLevel | Exception] = []

    def attempt() -> None:
        try:
            found.append(record(audio, seconds))
        except Exception as error:  # reported below, by the thread that waits
            found.append(error)

    worker = threading.Thread(target=attempt, name="microphone-check", daemon=True)
    worker.start()
    worker.join(seconds + OPENING)
    if not found:
        says = f"The sound system did not answer within {seconds + OPENING:.0f} s; start it again."
        return Check("microphone", WARNING, says, _figures(None, None))
    result = found[0]
    if isinstance(result, DeviceError):
        return Check("microphone", WARNING, str(result), _figures(None, None))
    if isinstance(result, Exception):
        says = f"It could not be tested ({type(result).__name__}: {result})."
        return Check("microphone", NOT_KNOWN, says, _figures(None, None))
    test = result.result
    says = f"{result.name}: peak {test.peak_db:.0f} dBFS, rms {test.rms_db:.0f} dBFS, {test.verdict()}."
    return Check("microphone", OK if test.verdict() == "ok" else WARNING, says, _figures(result.name, test))


def _figures(name: str | None, test: LevelTest | None) -> dict[str, object]:
    return {
        "device": name,
        "peak_db": None if test is None else round(test.peak_db, 1),
        "rms_db": None if test is None else round(test.rms_db, 1),
        "clipped": None if test is None else test.clipped,
        "silent": None if test is None else test.silent,
    }
