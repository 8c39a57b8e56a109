"""Tokens with control characters are never decoded, whichever bundle has them: a terminal or a shell acts on them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from device_asr.bundle.bundle import Bundle, load
from device_asr.bundle.vocabulary import SENTENCEPIECE_SPACE, Vocabulary, plain_tokens
from device_asr.decoding.program import DecodeProgram
from tests.support.paths import MODEL

CONTROLS = [bytes([byte]) for byte in (*range(32), 127)]
WHISPER = (*(bytes([byte]) for byte in range(256)), b" word", b"\n\n", b" a\x1b[2J", b"ok")
MOONSHINE = plain_tokens(f"{piece}".encode() for piece in (*(f"<0x{b:02X}>" for b in range(256)), "▁word", "\t", "ok"))


@pytest.mark.parametrize("tokens", [WHISPER, MOONSHINE], ids=["whisper", "moonshine"])
def test_every_token_with_a_control_byte_is_unwritten(tokens: tuple[bytes, ...]) -> None:
    vocabulary = Vocabulary(tokens, (len(tokens) + 1,), len(tokens), suppress=(65, len(tokens) + 1))
    unwritten = [tokens[i] for i in vocabulary.unwritten if i < len(tokens)]
    assert set(CONTROLS) < set(unwritten) and b"A" in unwritten
    assert not {b" word", b"ok", b"B", b"\xc3"} & set(unwritten)
    assert vocabulary.end not in vocabulary.unwritten and vocabulary.prompt[0] in vocabulary.unwritten
    assert SENTENCEPIECE_SPACE not in "".join(token.decode("latin-1") for token in tokens)


def test_the_shipped_vocabulary_has_33_of_them() -> None:
    vocabulary = load(MODEL, verify=False).vocabulary()
    control = [i for i in vocabulary.unwritten if i < len(vocabulary.tokens) and i not in vocabulary.suppress]
    assert sorted(vocabulary.tokens[i] for i in control) == sorted(CONTROLS)


def test_a_logit_of_a_control_token_never_wins(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the real decoding of a bundle whose vocabulary has them, as first token and later."""
    opened = load(bundle, verify=False)
    plain = opened.vocabulary()
    tokens = list(plain.tokens)
    tokens[3], tokens[5], tokens[7] = b"\n", b" x\x1b[31m", b"\x03"
    monkeypatch.setattr(Bundle, "vocabulary", lambda self: replace(plain, tokens=tuple(tokens)))
    program = DecodeProgram(opened, opened.session("speech", 1))
    row = np.zeros(260, np.float32)
    row[[3, 5, 7]] = 50.0
    for first in (True, False):
        for spoken in (True, False):
            choices = program.choices(row, first, spoken)
            assert np.isneginf(choices[[3, 5, 7]]).all() and np.isfinite(choices[8])
