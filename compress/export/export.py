"""A checkpoint becomes a program: `encode` and `decode` in one .pte, with a parity report.

Lengths are dynamic, not bucketed: XNNPACK re-plans on a change of shape in well under a millisecond,
and an utterance pays for the positions it has (measured: 2 s 3.8 ms, 5 s 10 ms, 10 s 25 ms, 20 s 70 ms
through the int8 encoder on one thread; buckets of 5 s would cost the next size up).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import export

from compress.export.delegation import lower
from compress.export.parity import parity_report, stream_parity
from compress.export.sizes import CACHE, TOKENS_PER_CALL
from compress.export.static import Spoken, decode_calls, encode_calls, fix_ranges
from compress.export.tied_embedding import locate
from compress.networks import embedding
from compress.networks.checkpoint import Checkpoint
from compress.networks.chunking import Chunking
from compress.networks.decoder import DecodeModule
from compress.networks.family import Arguments
from compress.networks.layers import LayerNorm
from compress.networks.network import SpeechNetwork, StreamModule
from compress.quantize.apply import quantize, quantize_linears
from compress.quantize.plan import EXACT, QuantizationPlan
from device_asr.bundle.roles import ALIGNMENT, CONSTANT, LOGITS, PCM, POSITION, TOKENS, nth, tensor
from device_asr.errors import UsageError


@dataclass(frozen=True)
class SpeechProgram:
    """The .pte with what the manifest says of it.

    methods: name -> {inputs, outputs}. constants: input -> {offset, shape, dtype} in the file.
    parity: method -> largest and mean difference between fp32, quantized network and .pte.
    """

    data: bytes
    methods: Mapping[str, Any]
    constants: Mapping[str, Any]
    parity: Mapping[str, Mapping[str, float]]


def export_speech(
    checkpoint: Checkpoint,
    plan: QuantizationPlan | None = None,
    sample: np.ndarray | None = None,
    clips: Sequence[Spoken] = (),
    chunking: Chunking | None = None,
) -> SpeechProgram:
    """Quantizes and exports a checkpoint; one with a CTC head gets the method `stream` too.

    Args:
        chunking: of `stream`; None: the usual one.
        plan: None: 8 bits everywhere.
        sample: (n,) float32 speech for the parity report; None: noise.
        clips: recordings with their tokens, to measure the ranges of static activations with.

    Raises:
        UsageError: the plan does not fit the network, or is static without clips.
        DelegationError: a heavy operation was left to portable kernels.
        TieError: the tied embedding does not lie in the file as expected.
    """
    plan = plan or QuantizationPlan()
    chunking = chunking or Chunking()
    exact, exact_stream, _ = _programs(checkpoint, EXACT, chunking)
    programs, stream, static = _programs(checkpoint, plan, chunking)
    quantized: tuple[nn.Module, nn.Module] = programs
    table = embedding.stored_form(programs[1].logits)
    exact_table = embedding.stored_form(exact[1].logits)
    family, dims = checkpoint.family_of(), checkpoint.dims
    encode_args = family.encode_arguments(dims)
    decode_args = family.decode_arguments(dims, table, CACHE, TOKENS_PER_CALL)
    with torch.no_grad():
        if static:
            quantized = _fixed(checkpoint, programs, (encode_args, decode_args), table, static, clips)
        exported = {
            "encode": export(quantized[0], encode_args[0], dynamic_shapes=encode_args[1]),
            "decode": export(quantized[1], decode_args[0], dynamic_shapes=decode_args[1]),
        }
        if stream is not None:
            exported["stream"] = export(stream, family.stream_arguments(dims, chunking))
    data = lower(exported)
    constants = locate(data, table)
    methods = _describe(checkpoint, table)
    if stream is not None:
        methods["stream"] = family.stream_signature(dims, chunking)
    parity = parity_report(checkpoint, data, methods, (*exact, exact_table), (*quantized, table), sample)
    if stream is not None and exact_stream is not None:
        parity["stream"] = stream_parity(checkpoint, data, methods["stream"], (exact_stream, stream), sample)
    return SpeechProgram(data, methods, constants, parity)


def export_stream(checkpoint: Checkpoint, plan: QuantizationPlan, chunking: Chunking) -> SpeechProgram:
    """The method `stream` alone as a program of its own, to compare ways of chunking with; without parity.

    Raises:
        UsageError: the network has no CTC head. DelegationError: see `export_speech`.
    """
    _, stream, _ = _programs(checkpoint, plan, chunking)
    if stream is None:
        raise UsageError("Wanted a network with a CTC head, which the stage ctc gives, found none.")
    family, dims = checkpoint.family_of(), checkpoint.dims
    with torch.no_grad():
        data = lower({"stream": export(stream, family.stream_arguments(dims, chunking))})
    return SpeechProgram(data, {"stream": family.stream_signature(dims, chunking)}, {}, {})


def _programs(
    checkpoint: Checkpoint,
    plan: QuantizationPlan,
    chunking: Chunking,
) -> tuple[tuple[nn.Module, DecodeModule], StreamModule | None, set[nn.Module]]:
    """`encode` and `decode`, `stream` where there is a CTC head, and the layers whose activations will be static.

    All are quantized but for those; `stream` and `encode` share the encoder, and so their weights in the file. Where
    there are static layers, `stream` has an encoder of its own, with dynamic activations.
    """
    network = _exportable(checkpoint)
    names = plan.static_layers(network)
    quantize(network, plan)
    static = {network.get_submodule(name) for name in names}
    family = checkpoint.family_of()
    encode = family.encode_program(network).eval()
    decode = family.decode_program(network, checkpoint.alignment_heads, CACHE).eval()
    quantize_linears(decode, plan.table.bits, plan.table.group, only=("logits",))
    if network.ctc is None:
        return (encode, decode), None, static
    streaming = quantize(_exportable(checkpoint), replace(plan, activations="dynamic")) if static else network
    return (encode, decode), family.stream_program(streaming, chunking).eval(), static


def _exportable(checkpoint: Checkpoint) -> SpeechNetwork:
    """The network with normalizations that XNNPACK takes whole; not yet quantized."""
    network = checkpoint.network().requires_grad_(False)
    for module in network.modules():
        if isinstance(module, LayerNorm):
            module.decomposed = True
    return network


def _fixed(
    checkpoint: Checkpoint,
    programs: tuple[nn.Module, DecodeModule],
    arguments: tuple[Arguments, Arguments],
    table: list[Tensor],
    static: Collection[nn.Module],
    clips: Sequence[Spoken],
) -> tuple[nn.Module, nn.Module]:
    """The programs with static activations in the linear layers `static`."""
    encode, decode = programs
    dims, multiple = checkpoint.dims, checkpoint.family_of().samples_per_position
    names = [[name for name, child in program.named_modules() if child in static] for program in programs]
    return (
        fix_ranges(encode, *arguments[0], names[0], encode_calls(clips, dims, multiple)),
        fix_ranges(
            decode,
            *arguments[1],
            names[1],
            decode_calls(
                clips, dims, multiple, programs, table, checkpoint.family_of().caches(dims, CACHE), TOKENS_PER_CALL
            ),
        ),
    )


def _describe(checkpoint: Checkpoint, table: list[Tensor]) -> dict[str, Any]:
    """Descriptions of `encode` and `decode` for the manifest; a text in a shape is a length that varies."""
    dims = checkpoint.dims
    cross = _keys_values("cross", "cross", [(x.cross_heads, dims.head_dim) for x in dims.decoder], "positions")
    sizes = [(x.heads, dims.head_dim) for x in dims.decoder]
    caches, new = _keys_values("self", "self", sizes, CACHE), _keys_values("new", "self", sizes, "tokens")
    tied = [
        tensor(name, CONSTANT, part.shape, str(part.numpy().dtype))
        for name, part in zip(embedding.NAMES, table, strict=False)
    ]
    heads = len(checkpoint.alignment_heads)
    samples = f"{checkpoint.family_of().samples_per_position} * positions"
    return {
        "encode": {"inputs": [tensor("pcm", PCM, [1, samples])], "outputs": cross},
        "decode": {
            "inputs": [
                tensor("tokens", TOKENS, ["tokens"], "int64"),
                tensor("position", POSITION, [1], "int64"),
                *tied,
                *caches,
                *cross,
            ],
            "outputs": [
                tensor("logits", LOGITS, ["tokens", dims.vocab]),
                *([tensor("alignment", ALIGNMENT, [heads, "tokens", "positions"])] if heads else []),
                *new,
            ],
        },
    }


def _keys_values(name: str, role: str, sizes: Sequence[tuple[int, int]], length: int | str) -> list[dict[str, Any]]:
    """Keys of every layer, then values of every layer; `sizes` are its heads and their dimensions."""
    keys = [
        tensor(f"{name}_keys_{i}", nth(f"{role}_keys", i), [heads, width, length])
        for i, (heads, width) in enumerate(sizes)
    ]
    values = [
        tensor(f"{name}_values_{i}", nth(f"{role}_values", i), [heads, length, width])
        for i, (heads, width) in enumerate(sizes)
    ]
    return [*keys, *values]
