"""Custom words as a person gives them: a file with one word or phrase a line."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from device_asr.bounded import read_text
from device_asr.bundle.symbols import SYMBOLS, spoken
from device_asr.config import DecodingConfig
from device_asr.errors import UsageError
from device_asr.printable import has_control, short

MOST_BYTES = 200_000  # of a file: some 20 thousand words, far more than help


@dataclass(frozen=True)
class Hotword:
    """A word or phrase as it is to be written, and the weight of its bonus (1: usual)."""

    text: str
    weight: float = 1.0

    def __post_init__(self) -> None:
        if has_control(self.text):
            raise UsageError(f"Hotword {short(self.text)}: wanted a word without control characters; type it anew.")
        if not spoken(self.text):
            raise UsageError(
                f"Hotword {self.text!r} cannot be spelled with the model's letters ({SYMBOLS.strip()}); "
                "write it as it is spoken in English."
            )
        if not 0 < self.weight <= 10:
            raise UsageError(f"Hotword {self.text!r}: wanted a weight above 0 and up to 10, found {self.weight}.")


def read_hotwords(path: Path) -> list[Hotword]:
    """Words of a file, one a line, `text` or `text<tab>weight`; empty lines and lines with # are skipped.

    Raises:
        UsageError: unreadable, a line that is not a word and a number, or a word that cannot be spelled.
    """
    try:
        lines = read_text(path, MOST_BYTES).split("\n")
    except (OSError, ValueError) as error:
        reason = "not UTF-8" if isinstance(error, UnicodeDecodeError) else getattr(error, "strerror", None) or error
        raise UsageError(
            f"Hotwords {path} cannot be read: {reason}; wanted a text file with one word or phrase a line."
        ) from None
    found = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        text, _, weight = line.partition("\t")
        try:
            found.append(Hotword(text.strip(), float(weight) if weight.strip() else 1.0))
        except ValueError:
            raise UsageError(
                f"{path}, line {number}: wanted a word and, after a tab, a number, found {short(line)}."
            ) from None
        except UsageError as error:
            raise UsageError(f"{path}, line {number}: {error}") from None
    return found


def configured_hotwords(config: DecodingConfig) -> list[Hotword]:
    """The words that `decoding.hotwords` names; none where it is empty.

    Raises:
        UsageError: as `read_hotwords`.
    """
    return [] if config.hotwords is None else read_hotwords(Path(os.path.expanduser(config.hotwords)))
