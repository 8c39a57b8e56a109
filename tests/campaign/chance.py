"""Random edits: which bytes, places and values a case damages; all of it of one seed."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from tests.campaign.edits import Edit, Text, places

BRACKETS = 100_000
NUMBERS = (
    "0", "-1", "1.5", "1e999", "-1e999", "NaN", "Infinity", "1e308", "1e-320", "2147483647", "4294967296",
    "9223372036854775807", "18446744073709551616", "100000000", "1000000", "1" + "0" * 400,
)  # fmt: skip
TEXTS = (
    "", " ", "x", "null", "\u0000", "a\u0000b", "../../../etc/passwd", "/dev/zero", "/dev/full", "\u001b[2J\u001b[31m",
    "\u0007\u0003",
    "\ud800", "\u202egnp.exe", "日本語", "ß" * 300, "-", "--help", "~", "%s%n", "$(id)", "a\nb", "é" * 5000,
)  # fmt: skip
SHAPES: tuple[Text, ...] = (
    "null", "true", "false", "[]", "{}", "[null]", '{"a": null}', "[[1, 2], 3]", '{"": ""}', "[1, 2, 3, 4, 5]",
    {"repeat": "[", "times": BRACKETS}, {"repeat": '{"a":', "times": BRACKETS}, "", ",", '"', "01", "'x'",
)  # fmt: skip
WORDS = ("00000000", "ffffffff", "ffffff7f", "00000080", "01000000", "ffff0000", "00000040", "10270000")


class Chance(random.Random):
    """Random numbers of one case: equal for an equal seed, kind and number."""

    def __init__(self, seed: int, kind: str, number: int) -> None:
        super().__init__(f"{seed}/{kind}/{number}")

    def value(self) -> Text:
        """A JSON value as its text, or what is none."""
        roll = self.random()
        if roll < 0.4:
            return self.choice(NUMBERS)
        if roll < 0.65:
            return json.dumps(self.choice(TEXTS))
        return self.choice(SHAPES)

    def place(self, document: Any, deep: int = 3) -> list[Any]:
        """A place in a JSON document: first how deep, so that a long list is not all of it."""
        every = [list(path) for path in places(document, deep)]
        depth = self.choice(sorted({len(path) for path in every}))
        return self.choice([path for path in every if len(path) == depth])

    def json_edit(self, file: str, document: Any, operation: str = "json", *first: Any) -> Edit:
        """Another value at a place, the place missing, or an unknown one."""
        path = self.place(document)
        roll = self.random()
        if roll < 0.1:
            return [file, operation, *first, path, None]
        if roll < 0.15:
            return [file, operation, *first, [self.choice(("x", "", "__class__", "a\u0000"))], self.value()]
        return [file, operation, *first, path, self.value()]

    def byte_edits(self, file: str, size: int, begin: int = 0) -> list[Edit]:
        """Some bytes changed, inserted or zeroed, or the end cut off."""
        if self.random() < 1 / 6 or size <= begin + 4:
            return [[file, "cut", self.randrange(size + 1)]]
        return [self.byte_edit(file, size, begin) for _ in range(self.choice((1, 1, 2, 8)))]

    def byte_edit(self, file: str, size: int, begin: int = 0) -> Edit:
        """One change of bytes; half of them among the first 200, where headers are."""
        end = min(size, begin + 200) if self.random() < 0.5 else size
        at = self.randrange(begin, max(begin + 1, end - 4))
        kind = self.choice(("byte", "word", "word", "zeros", "insert"))
        if kind == "byte":
            return [file, "bytes", at, f"{self.randrange(256):02x}"]
        if kind == "word":
            return [file, "bytes", at & ~1, self.choice((*WORDS, self.randbytes(4).hex()))]
        if kind == "insert":
            return [file, "insert", at, self.randbytes(self.choice((1, 2, 16))).hex()]
        return [file, "zeros", at, self.choice((4, 16, 64))]

    def no_file(self, file: str) -> Edit:
        """Something else in place of a file."""
        return self.choice(
            (
                [file, "drop"],
                [file, "folder"],
                [file, "fifo"],
                [file, "link", "nowhere"],
                [file, "link", "/dev/zero"],
                [file, "fill", ""],
                [file, "fill", {"repeat": "\u0000", "times": 4096}],
                [file, "hex", self.randbytes(self.choice((1, 7, 64, 999))).hex()],
            )
        )

    def word(self) -> str:
        """A text for a command line: no NUL, which the system refuses."""
        text = self.choice((*NUMBERS, *TEXTS)).replace("\u0000", "\u0001")
        return text.encode("utf-8", "replace").decode()


def document(path: Path) -> Any:
    """A parsed JSON file."""
    return json.loads(path.read_bytes())
