"""Sound server, permissions and microphone."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest

from device_asr.audio import devices
from device_asr.audio.level import Level
from device_asr.audio.level_test import SILENT, LevelTest, MeasuredLevel
from device_asr.config import AudioConfig
from device_asr.doctor import sound
from device_asr.doctor.check import NOT_KNOWN, OK, WARNING
from device_asr.doctor.facts import SoundFacts
from device_asr.doctor.sound import check_microphone, check_permissions, check_server
from device_asr.errors import DeviceError
from tests.support.paths import ASSETS
from tests.support.virtual_microphone import VirtualMicrophone, missing

NODE = "/dev/snd/pcmC1D0c"


def recorded(*levels: Level) -> MeasuredLevel:
    test = LevelTest()
    for second, level in enumerate(levels):
        test.add(level, 2.0 * second)
    return MeasuredLevel("USB Audio", test)


def test_who_may_not_open_the_device_learns_of_the_group() -> None:
    assert check_permissions(SoundFacts((NODE,), (NODE,))).state == OK
    closed = check_permissions(SoundFacts((NODE,), (), ("pi",)))
    assert closed.state == WARNING and "sudo usermod -aG audio" in closed.says and NODE in closed.says
    member = check_permissions(SoundFacts((NODE,), (), ("audio", "pi")))
    assert "usermod" not in member.says and "ls -l /dev/snd" in member.says
    assert check_permissions(SoundFacts()).state == NOT_KNOWN


def test_without_a_sound_server_alsa_is_enough() -> None:
    assert check_server(SoundFacts(servers=("PipeWire", "PulseAudio"))).says == "PipeWire and PulseAudio answers."
    assert check_server(SoundFacts((NODE,))).state == OK
    assert check_server(SoundFacts()).state == WARNING


def test_a_microphone_is_judged_by_its_level() -> None:
    loud = check_microphone(AudioConfig(), lambda audio, seconds: recorded(Level(0.1, 0.01)))
    assert loud.state == OK and loud.says == "USB Audio: peak -20 dBFS, rms -40 dBFS, ok."
    assert loud.figures["device"] == "USB Audio" and loud.figures["silent"] is False
    silent = check_microphone(AudioConfig(), lambda audio, seconds: recorded(Level(), Level(), Level()))
    assert silent.state == WARNING and SILENT in silent.says


def test_no_microphone_is_a_sentence_that_says_what_to_do() -> None:
    def record(audio: AudioConfig, seconds: float) -> MeasuredLevel:
        raise DeviceError("The microphone needs the PortAudio library; sudo apt install libportaudio2")

    check = check_microphone(AudioConfig(), record)
    assert check.state == WARNING and "apt install libportaudio2" in check.says
    assert set(check.figures.values()) == {None}


def test_a_sound_system_that_hangs_does_not_hang_the_examination(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sound, "OPENING", 0.1)
    release = threading.Event()

    def record(audio: AudioConfig, seconds: float) -> MeasuredLevel:
        release.wait(30)
        return recorded()

    check = check_microphone(AudioConfig(), record, seconds=0.1)
    release.set()
    assert check.state == WARNING and "did not answer" in check.says


@pytest.fixture
def microphone(monkeypatch: pytest.MonkeyPatch) -> Iterator[VirtualMicrophone]:
    with VirtualMicrophone() as virtual:
        for name, value in virtual.changes.items():
            monkeypatch.setitem(os.environ, name, value)
        devices.refresh()
        yield virtual


@pytest.mark.e2e
@pytest.mark.skipif(missing() is not None, reason=str(missing()))
def test_a_real_capture_through_pulseaudio(microphone: VirtualMicrophone) -> None:
    microphone.play(ASSETS / "letter.flac")
    with devices.silenced_libraries():
        check = check_microphone(AudioConfig(), seconds=2.5)
    assert check.state == OK and -20 < check.figures["peak_db"] < 0
