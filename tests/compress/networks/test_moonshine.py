"""Moonshine's network: its convolutions, rotary positions, decoding and vocabulary."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from compress.networks.family import family_named
from compress.networks.moonshine.frontend import EPS
from compress.networks.moonshine.limits import longest
from compress.networks.moonshine.network import Moonshine
from compress.networks.moonshine.rotary import halves_first, turned, turns
from compress.networks.moonshine.tokens import keep_tokens, moonshine_vocabulary, ordered, special_ids, token_encoder
from compress.networks.weights import CheckpointError
from device_asr.bundle.vocabulary import Vocabulary
from tests.support.moonshine import DIMS, VOCABULARY, random_network

FAMILY = family_named("moonshine")


@pytest.fixture(scope="module")
def network() -> Moonshine:
    return random_network()


def test_the_frontend_is_three_convolutions_and_a_normalization(network: Moonshine) -> None:
    pcm = torch.randn(1, 384 * 11, generator=torch.Generator().manual_seed(0)) * 0.1
    encoder = network.encoder
    convolution = [
        layer.weight.view(layer.out_features, width, -1).transpose(1, 2)
        for layer, width in ((encoder.conv1, 128), (encoder.conv2, 7), (encoder.conv3, 3))
    ]
    with torch.no_grad():
        x = torch.tanh(F.conv1d(pcm[:, None], convolution[0][:, :, :127], stride=64))
        x = F.group_norm(x, 1, encoder.groupnorm.weight, encoder.groupnorm.bias, EPS)
        x = F.gelu(F.conv1d(x, convolution[1], encoder.conv2.bias, stride=3))
        wanted = F.gelu(F.conv1d(x, convolution[2], encoder.conv3.bias, stride=2)).transpose(1, 2)
        found = convolved(network, pcm)
    assert found.shape == wanted.shape == (1, 9, DIMS.state)
    assert torch.allclose(found, wanted, atol=1e-5)


def convolved(network: Moonshine, pcm: torch.Tensor) -> torch.Tensor:
    """The input of the encoder's first layer."""
    seen = []
    hook = network.encoder.layers[0].register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    network.encode(pcm)
    hook.remove()
    return seen[0]


def test_turning_halves_is_turning_pairs_of_other_rows() -> None:
    """Transformers' form of it, with cosines and sines repeated for neighbors."""
    rotary, head_dim, heads = 8, 12, 2
    weight = torch.randn(heads * head_dim, 5, generator=torch.Generator().manual_seed(0))
    x = torch.randn(3, 5, generator=torch.Generator().manual_seed(1))
    at = turns(torch.arange(7, 10), rotary)
    cosines, sines = (part.repeat_interleave(2, 1) for part in at)
    pairs = (x @ weight.t()).view(3, heads, head_dim).transpose(0, 1)
    first = pairs[..., :rotary]
    across = torch.stack([-first[..., 1::2], first[..., 0::2]], dim=-1).flatten(-2)
    wanted = torch.cat([first * cosines + across * sines, pairs[..., rotary:]], dim=2)
    order = halves_first(heads, head_dim, rotary)
    found = turned((x @ weight[order].t()).view(3, heads, head_dim).transpose(0, 1), *at)
    assert torch.allclose(found, wanted.flatten(0, 0)[..., order[:head_dim]], atol=1e-6)


@pytest.mark.parametrize("lengths", [None, [384 * 30, 384 * 21]])
def test_greedy_decoding_with_a_cache_is_greedy_decoding(network: Moonshine, lengths: list[int] | None) -> None:
    pcm = torch.randn(2, 384 * 30, generator=torch.Generator().manual_seed(0)) * 0.1
    with torch.no_grad():
        states, mask = network.encode(pcm, None if lengths is None else torch.tensor(lengths))
    labels = FAMILY.greedy(network, VOCABULARY, states, mask)
    for row, label in enumerate(labels):
        ids = label.tokens.tolist()
        assert len(ids) == longest(28 if lengths is None or row == 0 else 19) or label.ended
        tokens = torch.tensor([[*VOCABULARY.prompt, *ids]])
        with torch.no_grad():
            logits = network.decode(tokens, states[row : row + 1], None if mask is None else mask[row : row + 1])[0]
        logits[:, VOCABULARY.prompt[0]] = -torch.inf
        logits[0, VOCABULARY.end] = -torch.inf
        assert ids == logits[: len(ids)].argmax(1).tolist()


def test_the_end_comes_first_only_where_it_may(network: Moonshine) -> None:
    states = torch.zeros(1, 40, DIMS.state)
    wants_end = random_network()
    wants_end.decoder.embedding.weight[VOCABULARY.end] = 9 * wants_end.decoder.norm.weight.sign()
    with torch.no_grad():
        wants_end.decoder.norm.weight.abs_()
        wants_end.decoder.embedding.weight[VOCABULARY.end] = 0
        logits = wants_end.decode(torch.tensor([[VOCABULARY.prompt[0]]]), states)[0, 0]
        direction = torch.linalg.lstsq(
            wants_end.decoder.embedding.weight[: DIMS.state], logits[: DIMS.state, None]
        ).solution[:, 0]
        wants_end.decoder.embedding.weight[VOCABULARY.end] = 100 * direction
    banned = FAMILY.greedy(wants_end, VOCABULARY, states, None)[0]
    allowed = FAMILY.greedy(wants_end, replace(VOCABULARY, suppress_first=()), states, None)[0]
    assert len(banned.tokens) > 0
    assert len(allowed.tokens) == 0 and allowed.ended


def test_a_given_text_gets_all_probability_where_the_network_would_write_another(network: Moonshine) -> None:
    label = FAMILY.forced(network, VOCABULARY, torch.zeros(1, 9, DIMS.state), [70, 71])
    assert label.tokens.tolist() == [70, 71] and label.ended
    assert label.best[:, 0].tolist() == [70, 71, VOCABULARY.end]


def test_bytes_come_first_and_special_ids_last() -> None:
    """A checkpoint's order is another: unknown, start and end are before the text."""
    pieces = {i + 3: bytes([i]) for i in range(256)} | {259: b" t", 260: b"he", 261: b" the"}
    vocabulary, rows = ordered(pieces, {"start": 1, "end": 2})
    assert vocabulary.tokens[256:] == (b" t", b"he", b" the")
    assert vocabulary.prompt == (260,) and vocabulary.end == 259 and vocabulary.suppress_first == (259,)
    assert rows[:3] == [3, 4, 5] and rows[-2:] == [2, 1]
    assert special_ids(vocabulary) == {"end": 259, "start": 260}
    with pytest.raises(CheckpointError, match="Wanted a vocabulary whose first text pieces are the 256 bytes"):
        ordered({3: b"a"}, {"start": 1, "end": 2})


def test_the_pair_of_the_lowest_id_is_merged_first() -> None:
    tokens = tuple(bytes([byte]) for byte in range(256)) + tuple(
        token.encode() for token in ("he", " t", " the", "in", "th", "thr", "é", " é", "a")
    )
    vocabulary = moonshine_vocabulary(tokens, {"end": len(tokens), "start": len(tokens) + 1})
    encode = token_encoder(vocabulary)

    def pieces(text: str) -> list[bytes]:
        return [vocabulary.tokens[i] for i in encode(text)]

    assert pieces(" the") == [b" the"]
    assert pieces("there") == [b"t", b"he", b"r", b"e"], "he comes before th"
    assert pieces(" é") == [" é".encode()]
    assert encode("a") == [tokens.index(b"a", 256)], "not the byte"
    assert pieces("ü") == [b"\xc3", b"\xbc"], "a character without a token is its bytes"
    for text in (" the thin café", "  two spaces ", "日本", "it's 3.5 %"):
        assert vocabulary.decode(encode(text)) == text


def test_a_pruned_vocabulary_keeps_the_order_and_bans_the_same_end() -> None:
    pruned, rows = keep_tokens(VOCABULARY, [*range(256), 257])
    assert pruned.tokens[256:] == (b" b",) and rows[-3:] == [257, 258, 259]
    assert pruned.end == 257 and pruned.prompt == (258,) and pruned.suppress_first == (257,)
    other = Vocabulary(VOCABULARY.tokens, (1, 2), 3, 4)
    with pytest.raises(CheckpointError, match="Wanted Moonshine's vocabulary"):
        keep_tokens(other, [1])


def test_the_family_knows_every_tensor() -> None:
    family = family_named("moonshine")
    dims = replace(DIMS, ctc=29, adapters=4)
    assert set(family.axes(dims)) <= set(family.network(dims).state_dict())
    missing = set(family.network(dims).state_dict()) - set(family.axes(dims))
    assert missing <= {"ctc.hidden.bias", "ctc.out.weight", "ctc.out.bias"}
    assert family.dims(dims.to_json()) == dims
