"""Choosing a capture device, and the sentence where there is none."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

from device_asr.audio import devices
from device_asr.audio.devices import Device, by_name, choose
from device_asr.audio.level import Level
from device_asr.audio.level_test import SILENT, LevelTest
from device_asr.commands.devices import command, listing
from device_asr.errors import DeviceError
from tests.support.paths import ASSETS
from tests.support.virtual_microphone import VirtualMicrophone, missing

BUILTIN = Device(0, "HDA Intel PCH: ALC257 Analog (hw:0,0)", "ALSA", 2, 44_100, False)
USB = Device(4, "Blue Yeti: USB Audio (hw:2,0)", "ALSA", 2, 48_000, False)
DEFAULT = Device(7, "default", "ALSA", 32, 44_100, True)
FOUND = [BUILTIN, USB, DEFAULT]


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [
        ((), DEFAULT),
        (("default",), DEFAULT),
        (("4",), USB),
        (("yeti",), USB),
        (("headset", "YETI", "0"), USB),
        (("headset", "0"), BUILTIN),
        (("hw:",), BUILTIN),
    ],
)
def test_a_device_is_chosen_by_index_by_part_of_its_name_or_from_a_list(
    wanted: tuple[str, ...], chosen: Device
) -> None:
    assert choose(FOUND, wanted) == chosen


def test_an_index_goes_on_to_mean_the_device_it_meant_when_others_come_or_go() -> None:
    assert by_name(FOUND, ("4", "9", "default")) == (USB.name, "9", "default")
    screen = Device(1, "HDMI", "ALSA", 2, 48_000, False)
    moved = [BUILTIN, screen, Device(5, USB.name, "ALSA", 2, 48_000, False)]
    assert choose(moved, by_name(FOUND, ("4",))).index == 5


def test_an_exact_name_goes_before_one_that_only_contains_it() -> None:
    long = Device(1, "USB Audio 2", "ALSA", 1, 48_000, False)
    short = Device(2, "USB Audio", "ALSA", 1, 48_000, False)
    assert choose([long, short], ["usb audio"]) == short


def test_a_device_that_is_not_there_is_never_replaced_by_another_one_silently() -> None:
    with pytest.raises(DeviceError, match=r"matches 'headset' or '9'; found 0 .* 4 .* 7 'default'"):
        choose(FOUND, ("headset", "9"))
    with pytest.raises(DeviceError, match="No microphone was found; plug one in"):
        choose([], ())
    assert choose([BUILTIN, USB], ()) == BUILTIN, "no system default: the first"


def test_the_table_marks_the_default_and_the_one_that_would_be_used() -> None:
    lines = listing(FOUND, USB).splitlines()
    assert lines[2].split()[:2] == [">", "4"]
    assert lines[3].split()[:2] == ["*", "7"]
    assert lines[1].split()[0] == "0"


def test_three_seconds_of_digital_silence_are_reported() -> None:
    test = LevelTest()
    test.add(Level(0.1, 0.05), 0.0)
    test.add(Level(0.0, 0.0), 1.0)
    assert test.verdict() == "ok"
    test.add(Level(0.0, 0.0), 3.9)
    assert test.verdict() == "ok"
    test.add(Level(0.0, 0.0), 4.0)
    assert test.verdict() == SILENT == "silent: muted, or the wrong source?"
    test.add(Level(0.0003, 0.0001), 4.1)
    assert test.verdict() == "ok", "a quiet room is not digital silence"
    test.add(Level(1.0, 0.5, clipped=True), 4.2)
    assert "clipped" in test.verdict()


def test_without_portaudio_the_sentence_names_the_package_to_install() -> None:
    program = (
        "import ctypes.util; ctypes.util.find_library = lambda name: None\n"
        "from device_asr.audio import devices\n"
        "try: devices.list_devices()\n"
        "except devices.DeviceError as error: print(error)"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "sudo apt install libportaudio2" in result.stdout
    assert "Traceback" not in result.stderr


def test_what_libraries_print_is_kept_from_the_terminal_but_not_what_python_prints() -> None:
    program = (
        "import os, sys\n"
        "from device_asr.audio.devices import silenced_libraries\n"
        "with silenced_libraries():\n"
        "    os.write(2, b'ALSA lib: noise\\n'); print('person', file=sys.stderr)\n"
        "    print('screen', file=sys.__stderr__)\n"
        "os.write(2, b'afterward\\n'); print('python', file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stderr.splitlines() == ["person", "screen", "afterward", "python"]


@pytest.mark.e2e
@pytest.mark.skipif(missing() is not None, reason=str(missing()))
class TestWithAVirtualMicrophone:
    def run(self, microphone: VirtualMicrophone, *args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "device_asr.cli", "devices", *args],
            env=microphone.env,
            text=True,
            capture_output=True,
            timeout=60,
        )

    def test_devices_are_listed_for_people_and_programs_and_tested(self) -> None:
        with VirtualMicrophone() as microphone:
            listed = self.run(microphone)
            assert listed.returncode == 0 and listed.stderr == ""
            assert any(line.startswith(">  *") and "default" in line for line in listed.stdout.splitlines())
            records = json.loads(self.run(microphone, "--json", "--device", "pulse").stdout)
            assert [(r["name"], r["default"], r["used"]) for r in records] == [
                ("pulse", False, True),
                ("default", True, False),
            ]
            silent = self.run(microphone, "--test", "--seconds", "4")
            assert SILENT in silent.stdout
            microphone.play(ASSETS / "letter.flac")
            loud = json.loads(self.run(microphone, "--test", "--seconds", "2.5", "--json").stdout)
            assert not loud["silent"] and not loud["clipped"] and -20 < loud["peak_db"] < 0

    def test_a_name_that_fits_nothing_is_reported_beside_the_list(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with VirtualMicrophone() as microphone:
            for name, value in microphone.changes.items():
                monkeypatch.setitem(os.environ, name, value)
            devices.refresh()
            result = CliRunner().invoke(command, ["--device", "ribbon"])
            assert "No microphone matches 'ribbon'" in result.stderr
            assert "pulse" in result.stdout
