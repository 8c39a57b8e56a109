"""No control character goes through, whichever door a text takes; what is none stays as it is."""

from __future__ import annotations

import dataclasses
import io
import unicodedata
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from device_asr import errors
from device_asr.audio.devices import Device
from device_asr.audio.file import FileSource
from device_asr.commands.listen import Printer
from device_asr.dictation.handover import Handover
from device_asr.dictation.state import Delivery, Notice
from device_asr.dictation.transcript import Line
from device_asr.errors import DeviceAsrError, UsageError
from device_asr.events import Failed, Final, Partial, Word, from_record, to_record
from device_asr.hotwords.words import Hotword, read_hotwords
from device_asr.printable import has_control, has_control_byte, printable, short, spoken_text
from device_asr.tui.widgets.readout import Readout
from device_asr.writers import FORMATS, make_writer

ESCAPES = "a\x1b]0;title\x07b\x03c\nd\x7fe\x9bf\u202eg\u2028h\udcffi"
ANY = st.text(st.characters(codec=None), max_size=30)  # surrogates too


def harmless(text: str) -> bool:
    """By Unicode's own categories: no control, no separator of lines, no surrogate."""
    return all(unicodedata.category(c) not in ("Cc", "Zl", "Zp", "Cs") for c in text)


@given(ANY)
@example(ESCAPES)
def test_every_text_can_be_printed_afterward(text: str) -> None:
    for found in (printable(text), spoken_text(text)):
        assert harmless(found) and not has_control(found)
        found.encode("utf-8")
    assert not has_control(printable(text, lines=True).replace("\n", "").replace("\t", ""))
    if harmless(text) and not has_control(text):
        assert printable(text) == spoken_text(text) == text


@given(ANY)
def test_a_spoken_text_is_filtered_character_by_character(text: str) -> None:
    """A partial begins with what it commits: both are filtered."""
    assert spoken_text(text) == "".join(map(spoken_text, text)) and len(spoken_text(text)) == len(text)


def test_other_scripts_and_signs_stay() -> None:
    for text in ("Café, naïve; 5 °C – “so”…", "こんにちは", "👩\u200d🚀", "a\u00a0b", "[/bold]"):
        assert printable(text) == spoken_text(text) == text


def test_a_name_shows_what_is_in_it() -> None:
    assert printable("a\x1b[2Jb\n\udcff\u202e") == "a\\x1b[2Jb\\n\\udcff\\u202e"
    assert printable("a\tb\n\x1b", lines=True) == "a\tb\n\\x1b"


@pytest.mark.parametrize("byte", range(256))
def test_bytes_that_are_ascii_controls_are_found(byte: int) -> None:
    assert has_control_byte(b"ab" + bytes([byte]) + b"c") == (byte < 32 or byte == 127)


def test_a_value_in_a_message_is_short_whatever_it_is() -> None:
    nested: list[object] = []
    for _ in range(100_000):
        nested = [nested]
    for value in ("x" * 1000, 10**400, 10**5000, nested, {"a": 10**5000}):
        assert 0 < len(short(value)) <= 60


# -- the doors -------------------------------------------------------------------------------------------


def test_every_event_has_one_line_without_controls() -> None:
    word = Word(ESCAPES, 0.0, 1.0, 0.5)
    final = Final(0, ESCAPES, 0.0, 1.0, 1.0, (word,), 0.5)
    partial = Partial(0, ESCAPES + " more", ESCAPES, 0.0, 1.0, 1.0)
    line = Line(final, edited=ESCAPES)
    texts = [word.text, final.text, partial.text, partial.committed, Failed(0.0, ESCAPES).message, line.text]
    assert all(map(harmless, texts)) and partial.text.startswith(partial.committed)
    again = from_record({**to_record(final), "text": "x\x1bc\n", "words": []})
    assert isinstance(again, Final) and again.text == "x c ", "from a session's file"


@pytest.mark.parametrize("format", FORMATS)
def test_no_writer_gives_a_control_to_a_terminal(format: str) -> None:
    writer = make_writer(format)
    word = Word(ESCAPES, 0.0, 1.0, 0.5)
    text = writer.header() + writer.final(Final(0, ESCAPES, 0.0, 1.0, 1.0, (word,), 0.5))
    assert harmless(text.replace("\n", ""))


def all_errors(kind: type[DeviceAsrError]) -> list[type[DeviceAsrError]]:
    return [kind, *(found for one in kind.__subclasses__() for found in all_errors(one))]


@pytest.mark.parametrize("kind", all_errors(DeviceAsrError))
def test_every_error_is_one_line(kind: type[DeviceAsrError]) -> None:
    assert str(kind("a\x1b[31m\n.wav: no such file.")) == "a\\x1b[31m\\n.wav: no such file."
    assert harmless(str(kind(ESCAPES)))


def test_notices_and_devices_and_files_are_named_without_controls(tmp_path: Path) -> None:
    device = Device(0, ESCAPES, ESCAPES, 1, 16_000, True)
    assert harmless(Notice("device_opened", f"Recording from {ESCAPES}.").message)
    assert all(harmless(str(value)) for value in dataclasses.asdict(device).values())
    with pytest.raises(errors.AudioError) as error:
        FileSource(tmp_path / "a\x1b[31m\n.wav")
    assert harmless(str(error.value)) and "\\x1b[31m\\n.wav" in str(error.value)


@pytest.mark.parametrize("control", "\x00\x03\x0b\x1b\x7f\x9b\u2028\u202e")
def test_hotwords_have_no_controls(control: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="without control characters"):
        Hotword(f"Zeta{control}Corp")
    path = tmp_path / "words.txt"
    path.write_text(f"Good\nZeta{control}Corp\t2\n")
    with pytest.raises(UsageError, match=r"words\.txt, line 2: Hotword .* without control characters"):
        read_hotwords(path)


def test_what_is_typed_has_no_key_that_a_shell_acts_on(tmp_path: Path) -> None:
    """A newline would run the line, ^C would end a program, and an escape would move in its history."""
    typed = tmp_path / "typed"
    failures: list[str] = []
    handover = Handover(["sh", "-c", f"cat > {typed}"], " ", failures.append)
    printer = Printer("txt", io.StringIO(), io.StringIO(), [handover])
    printer.show(Delivery(Final(0, "rm -rf x\n\x03\x1b[A\r\x04", 0.0, 1.0, 1.0, (), 0.5), 0.0))
    handover.close()
    assert typed.read_bytes() == b"rm -rf x   [A   " and failures == []


def test_no_read_out_of_the_interface_draws_a_control() -> None:
    readout = Readout()
    readout.show("model \x1b]0;title\x07\nsecond line")
    assert readout.text == "model \\x1b]0;title\\x07\nsecond line"
