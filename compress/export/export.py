"""A checkpoint becomes a program: `encode` and `decode` in one .pte, with a parity report.

Lengths are dynamic, not bucketed: XNNPACK re-plans on a change of shape in well under a millisecond,
and an utterance pays for the positions it has (measured: 2 s 3.8 ms, 5 s 10 ms, 10 s 25 ms, 20 s 70 ms
through the int8 encoder on one thread; buckets of 5 s would cost the next size up).
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import Dim, export

from compress.export.delegation import lower
from compress.export.static import Spoken, decode_calls, encode_calls, fix_ranges
from compress.export.tied_embedding import locate
from compress.networks import embedding
from compress.networks.checkpoint import Checkpoint
from compress.networks.chunking import Chunking
from compress.networks.layers import LayerNorm
from compress.networks.whisper.frontend import SAMPLES_PER_POSITION
from compress.networks.whisper.network import Whisper
from compress.networks.whisper.programs import DecodeProgram, EncodeProgram
from compress.networks.whisper.stream import StreamProgram, example, flattened, signature
from compress.quantize.apply import quantize, quantize_linears
from compress.quantize.plan import EXACT, QuantizationPlan
from device_asr.errors import UsageError
from device_asr.runtime.session import Session, open_session

CACHE = 224  # token slots: 28 s of fast English is about 120 tokens; Whisper's own sample length
TOKENS_PER_CALL = 32  # drafts are checked in batches of at most this many
EXAMPLE_POSITIONS = 250
EXAMPLE_TOKENS = 3


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
    quantized, stream, static = _programs(checkpoint, plan, chunking)
    table = embedding.stored_form(quantized[1].logits)
    exact_table = embedding.stored_form(exact[1].logits)
    encode_args, decode_args = _encode_arguments(checkpoint), _decode_arguments(checkpoint, table)
    with torch.no_grad():
        if static:
            quantized = _fixed(checkpoint, quantized, table, static, clips)
        exported = {
            "encode": export(quantized[0], encode_args[0], dynamic_shapes=encode_args[1]),
            "decode": export(quantized[1], decode_args[0], dynamic_shapes=decode_args[1]),
        }
        if stream is not None:
            exported["stream"] = export(stream, example(checkpoint.dims, chunking))
    data = lower(exported)
    constants = locate(data, table)
    methods = _describe(checkpoint, table)
    if stream is not None:
        methods["stream"] = signature(checkpoint.dims, chunking)
    parity = _parity(checkpoint, data, methods, (*exact, exact_table), (*quantized, table), sample)
    if stream is not None and exact_stream is not None:
        parity["stream"] = _stream_parity(data, methods["stream"], exact_stream, stream, sample)
    return SpeechProgram(data, methods, constants, parity)


def export_stream(checkpoint: Checkpoint, plan: QuantizationPlan, chunking: Chunking) -> SpeechProgram:
    """The method `stream` alone as a program of its own, to compare ways of chunking with; without parity.

    Raises:
        UsageError: the network has no CTC head. DelegationError: see `export_speech`.
    """
    _, stream, _ = _programs(checkpoint, plan, chunking)
    if stream is None:
        raise UsageError("Wanted a network with a CTC head, which the stage ctc gives, found none.")
    with torch.no_grad():
        data = lower({"stream": export(stream, example(checkpoint.dims, chunking))})
    return SpeechProgram(data, {"stream": signature(checkpoint.dims, chunking)}, {}, {})


def _programs(
    checkpoint: Checkpoint,
    plan: QuantizationPlan,
    chunking: Chunking,
) -> tuple[tuple[EncodeProgram, DecodeProgram], StreamProgram | None, set[nn.Module]]:
    """`encode` and `decode`, `stream` where there is a CTC head, and the layers whose activations will be static.

    All are quantized but for those; `stream` and `encode` share the encoder, and so their weights in the file. Where
    there are static layers, `stream` has an encoder of its own, with dynamic activations.
    """
    network = _exportable(checkpoint)
    names = plan.static_layers(network)
    quantize(network, plan)
    static = {network.get_submodule(name) for name in names}
    encode = EncodeProgram(network).eval()
    decode = DecodeProgram(network, checkpoint.alignment_heads, CACHE).eval()
    quantize_linears(decode, plan.table.bits, plan.table.group, only=("logits",))
    if network.ctc is None:
        return (encode, decode), None, static
    hearing = quantize(_exportable(checkpoint), replace(plan, activations="dynamic")) if static else network
    return (encode, decode), StreamProgram(hearing, chunking).eval(), static


def _exportable(checkpoint: Checkpoint) -> Whisper:
    """The network with normalizations that XNNPACK takes whole; not yet quantized."""
    network = checkpoint.network().requires_grad_(False)
    for module in network.modules():
        if isinstance(module, LayerNorm):
            module.decomposed = True
    return network


def _fixed(
    checkpoint: Checkpoint,
    programs: tuple[EncodeProgram, DecodeProgram],
    table: list[Tensor],
    static: Collection[nn.Module],
    clips: Sequence[Spoken],
) -> tuple[nn.Module, nn.Module]:
    """The programs with static activations in the linear layers `static`."""
    encode, decode = programs
    names = [[name for name, child in program.named_modules() if child in static] for program in programs]
    return (
        fix_ranges(encode, *_encode_arguments(checkpoint), names[0], encode_calls(clips, checkpoint.dims)),
        fix_ranges(
            decode,
            *_decode_arguments(checkpoint, table),
            names[1],
            decode_calls(clips, encode, decode, table, _caches(checkpoint), TOKENS_PER_CALL),
        ),
    )


def _caches(checkpoint: Checkpoint) -> tuple[list[Tensor], list[Tensor]]:
    """Empty caches of every decoder layer: keys (heads, head_dim, CACHE), values (heads, CACHE, head_dim)."""
    dims = checkpoint.dims
    return (
        [torch.zeros(x.heads, dims.head_dim, CACHE) for x in dims.decoder],
        [torch.zeros(x.heads, CACHE, dims.head_dim) for x in dims.decoder],
    )


def _encode_arguments(checkpoint: Checkpoint) -> tuple[tuple[Any, ...], Any]:
    """Example and dynamic shapes of `encode`."""
    positions = Dim("positions", min=2, max=checkpoint.dims.audio_ctx)
    pcm = torch.randn(1, SAMPLES_PER_POSITION * EXAMPLE_POSITIONS) * 0.1
    return (pcm,), ({1: SAMPLES_PER_POSITION * positions},)


def _decode_arguments(checkpoint: Checkpoint, table: list[Tensor]) -> tuple[tuple[Any, ...], Any]:
    """Example and dynamic shapes of `decode`."""
    dims, layers = checkpoint.dims, len(checkpoint.dims.decoder)
    # contiguous on purpose: an example with other strides is baked into the program's input layout
    cross_keys = [torch.randn(x.cross_heads, dims.head_dim, EXAMPLE_POSITIONS) for x in dims.decoder]
    cross_values = [torch.randn(x.cross_heads, EXAMPLE_POSITIONS, dims.head_dim) for x in dims.decoder]
    # copies: an example that shares storage with the logits' weights would be traced as those weights
    copies = [tensor.clone() for tensor in table]
    example = (torch.arange(EXAMPLE_TOKENS), torch.tensor([0]), copies, *_caches(checkpoint), cross_keys, cross_values)
    positions = Dim("positions", min=2, max=1500)
    count = Dim("tokens", min=1, max=TOKENS_PER_CALL)
    return example, (
        {0: count},
        None,
        [None] * len(table),
        [None] * layers,
        [None] * layers,
        [{2: positions}] * layers,
        [{1: positions}] * layers,
    )


def _describe(checkpoint: Checkpoint, table: list[Tensor]) -> dict[str, Any]:
    """Signatures for the manifest; a text in a shape is a length that varies."""
    dims, layers = checkpoint.dims, range(len(checkpoint.dims.decoder))

    def tensor(name: str, shape: list[Any], dtype: str = "float32") -> dict[str, Any]:
        return {"name": name, "shape": shape, "dtype": dtype}

    cross = [tensor(f"cross_keys_{i}", [dims.decoder[i].cross_heads, dims.head_dim, "positions"]) for i in layers]
    cross += [tensor(f"cross_values_{i}", [dims.decoder[i].cross_heads, "positions", dims.head_dim]) for i in layers]
    own = [tensor(f"self_keys_{i}", [dims.decoder[i].heads, dims.head_dim, CACHE]) for i in layers]
    own += [tensor(f"self_values_{i}", [dims.decoder[i].heads, CACHE, dims.head_dim]) for i in layers]
    new = [tensor(f"new_keys_{i}", [dims.decoder[i].heads, dims.head_dim, "tokens"]) for i in layers]
    new += [tensor(f"new_values_{i}", [dims.decoder[i].heads, "tokens", dims.head_dim]) for i in layers]
    tied = [
        tensor(name, list(part.shape), str(part.numpy().dtype))
        for name, part in zip(embedding.NAMES, table, strict=False)
    ]
    heads = len(checkpoint.alignment_heads)
    return {
        "encode": {"inputs": [tensor("pcm", [1, "320 * positions"])], "outputs": cross},
        "decode": {
            "inputs": [tensor("tokens", ["tokens"], "int64"), tensor("position", [1], "int64"), *tied, *own, *cross],
            "outputs": [
                tensor("logits", ["tokens", dims.vocab]),
                tensor("alignment", [heads, "tokens", "positions"]),
                *new,
            ],
        },
    }


def _parity(
    checkpoint: Checkpoint,
    data: bytes,
    described: Mapping[str, Any],
    exact: tuple[nn.Module, nn.Module, list[Tensor]],
    quantized: tuple[nn.Module, nn.Module, list[Tensor]],
    sample: np.ndarray | None,
) -> dict[str, dict[str, float]]:
    """fp32 against quantized against .pte on one utterance; decode is given the same inputs in all three.

    exact, quantized: `encode`, `decode` and its table.
    """
    pcm = _audio(sample)
    with _session(data, described) as session:
        with torch.no_grad():
            fp32, int8 = exact[0](pcm), quantized[0](pcm)
        pte = session.run("encode", pcm.numpy())
        report = {"encode": _difference(fp32, int8, pte)}
        layers = len(checkpoint.dims.decoder)
        cross = [tensor.contiguous() for tensor in fp32]
        tokens, position = torch.tensor(checkpoint.vocabulary.prompt), torch.tensor([0])
        rest = (*_caches(checkpoint), cross[:layers], cross[layers:])
        with torch.no_grad():
            fp32 = exact[1](tokens, position, exact[2], *rest)
            int8 = quantized[1](tokens, position, quantized[2], *rest)
        args = (tokens, position, quantized[2], *rest)
        flat = [array.numpy() for group in args for array in (group if isinstance(group, list) else [group])]
        report["decode"] = _difference(fp32[:1], int8[:1], session.run("decode", *flat)[:1])
    return report


def _stream_parity(
    data: bytes, described: Mapping[str, Any], exact: StreamProgram, quantized: StreamProgram, sample: np.ndarray | None
) -> dict[str, float]:
    """The same of the CTC logits that stay, of all chunks, each program with a state of its own."""
    pcm, size = _audio(sample), described["inputs"][0]["shape"][1]
    heard: list[list[Any]] = [[], [], []]
    kept = slice(exact.chunking.size)
    with _session(data, {"stream": described}) as session, torch.no_grad():
        empty = example(exact.dims, exact.chunking)[1:]
        states: list[Any] = [empty, empty, [tensor.numpy() for tensor in flattened(empty)]]
        for at in range(0, pcm.shape[1] - size + 1, size):
            chunk = pcm[:, at : at + size]
            for k, program in enumerate((exact, quantized)):
                out = program(chunk, *states[k])
                states[k] = exact.state_of(out)
                heard[k].append(out[0][kept])
            out = session.run("stream", chunk.numpy(), *states[2])
            heard[2].append(out[0][kept].copy())
            states[2] = [array.copy() for array in out[-len(states[2]) :]]
    return _difference(
        *(scores[exact.chunking.look_ahead :] for scores in heard)
    )  # those before are no part of the audio


def _audio(sample: np.ndarray | None) -> Tensor:
    """(1, n) of the sample, at most 20 s; noise where there is none."""
    if sample is None:
        sample = np.random.default_rng(0).normal(0, 0.05, 16_000 * 4).astype(np.float32)
    sample = sample[: len(sample) // SAMPLES_PER_POSITION * SAMPLES_PER_POSITION][: 16_000 * 20]
    return torch.from_numpy(np.ascontiguousarray(sample[None], dtype=np.float32))


@contextmanager
def _session(data: bytes, described: Mapping[str, Any]) -> Iterator[Session]:
    with tempfile.NamedTemporaryFile(suffix=".pte") as file:
        file.write(data)
        file.flush()
        yield open_session(
            Path(file.name), {name: [i["name"] for i in method["inputs"]] for name, method in described.items()}
        )


def _difference(fp32: Any, quantized: Any, pte: Any) -> dict[str, float]:
    """Root mean square of the differences relative to the fp32 values, and the largest absolute one."""

    def flat(tensors: Any) -> np.ndarray:
        return np.concatenate([np.asarray(t, dtype=np.float64).reshape(-1) for t in tensors])

    a, b, c = flat(fp32), flat(quantized), flat(pte)
    scale = float(np.sqrt(np.mean(a * a))) or 1.0
    return {
        "quantized_vs_fp32_rms": round(float(np.sqrt(np.mean((b - a) ** 2))) / scale, 6),
        "pte_vs_quantized_rms": round(float(np.sqrt(np.mean((c - b) ** 2))) / scale, 6),
        "pte_vs_fp32_rms": round(float(np.sqrt(np.mean((c - a) ** 2))) / scale, 6),
        "pte_vs_fp32_max": round(float(np.abs(c - a).max()), 5),
    }
