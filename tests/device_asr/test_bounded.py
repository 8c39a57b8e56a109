"""What comes from outside is read within bounds, and says so in a ValueError where it is beyond them."""

from __future__ import annotations

import gzip
import os
import threading
import tracemalloc
from pathlib import Path

import pytest

from device_asr.bounded import parse_json, parse_toml, read_bytes, read_gzip, read_text

DIGITS = "1" + "0" * 400
HUGE = "1" + "0" * 5000  # more digits than Python turns into a number


@pytest.mark.parametrize("number", ["1e999", "-1e999", "NaN", "Infinity", "-Infinity", DIGITS, f"-{DIGITS}", HUGE])
@pytest.mark.parametrize("form", ["%s", "[%s]", '{"a": [1, {"b": %s}]}'])
def test_a_number_of_json_is_finite_and_of_64_bits(form: str, number: str) -> None:
    with pytest.raises(ValueError):
        parse_json(form % number)


@pytest.mark.parametrize("number", ["inf", "-inf", "nan", "1e999", DIGITS, HUGE])
def test_a_number_of_toml_is_finite_and_of_64_bits(number: str) -> None:
    with pytest.raises(ValueError):
        parse_toml(f"[a]\nb = [1, {number}]")


@pytest.mark.parametrize("depth", [70, 900, 5_000, 100_000])
def test_nested_brackets_are_refused_in_json_and_in_toml(depth: int) -> None:
    """Python's own readers end in a RecursionError, or give what every later step would end in."""
    nested = "[" * depth + "]" * depth
    for call, text in ((parse_json, nested), (parse_toml, f"a = {nested}"), (parse_json, "[" * depth)):
        with pytest.raises(ValueError):
            call(text)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
def test_a_pipe_is_read_to_its_end_and_one_without_a_writer_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    assert read_text(path) == ""
    with pytest.raises(ValueError):
        parse_json(read_bytes(path))
    late = threading.Timer(0.2, lambda: path.write_bytes(gzip.compress(b"x" * 10)))
    reader = os.open(path, os.O_RDWR | os.O_NONBLOCK)  # so that there is a writer when it is opened
    late.start()
    closing = threading.Timer(0.4, os.close, [reader])
    closing.start()
    assert read_gzip(path, 10) == b"x" * 10
    late.join()
    closing.join()


def test_a_high_bound_takes_no_memory(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    tracemalloc.start()
    assert read_bytes(tmp_path / "a", 1 << 30) == b"x"
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 4 << 20


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="this system has no /dev/zero")
def test_a_device_that_never_ends_is_read_as_far_as_a_text_goes() -> None:
    with pytest.raises(ValueError, match="more than 4000000 bytes"):
        read_bytes(Path("/dev/zero"), 10**12)


def test_usual_values_are_read() -> None:
    assert parse_json('{"a": [1, -2.5, true, null, "x"], "b": 9007199254740993}')["b"] == 9007199254740993
    assert parse_toml("[a]\nb = 1.5\nc = true\nd = 1979-05-27")["a"]["b"] == 1.5


def test_a_file_beyond_its_bound_is_not_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x" * 10)
    assert read_bytes(path, 10) == b"x" * 10
    with pytest.raises(ValueError, match="it has more than 9 bytes"):
        read_bytes(path, 9)
    with pytest.raises(ValueError, match="it has more than 1000 bytes"):
        read_bytes(Path("/dev/zero"), 1000)


def test_text_is_utf_8_and_its_lines_end_alike(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"a\r\nb\rc\n")
    assert read_text(path) == "a\nb\nc\n"
    path.write_bytes(b"\xff")
    with pytest.raises(ValueError):
        read_text(path)


def test_a_name_with_a_zero_byte_is_a_value_error() -> None:
    with pytest.raises(ValueError):
        read_text(Path("a\0b"))


def test_a_bomb_of_gzip_takes_no_memory(tmp_path: Path) -> None:
    """0.2 MB that stand for 200: unpacked as far as the bound."""
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(bytes(200_000_000), 9))
    assert path.stat().st_size < 300_000
    tracemalloc.start()
    with pytest.raises(ValueError, match="it has more than 1000000 bytes"):
        read_gzip(path, 1_000_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000


@pytest.mark.parametrize("damage", [lambda d: d[: len(d) // 2], lambda d: d[:10] + b"x" * 40, lambda d: b"plain"])
def test_damaged_gzip_is_a_sentence(damage: object, tmp_path: Path) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(damage(gzip.compress(b"abc" * 1000)))  # type: ignore[operator]
    with pytest.raises((OSError, ValueError)):
        read_gzip(path, 10_000)
