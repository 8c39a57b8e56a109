"""A checkpoint becomes a program: `encode` and `decode` in one .pte, with a parity report.

Lengths are dynamic, not bucketed: XNNPACK re-plans on a change of shape in well under a millisecond,
and a phrase pays for the positions it has (measured: 2 s 3.8 ms, 5 s 10 ms, 10 s 25 ms, 20 s 70 ms
through the int8 encoder on one thread; buckets of 5 s would cost the next size up).
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram, export

from compress.checkpoints import Checkpoint
from compress.delegation import lower
from compress.frontend import SAMPLES_PER_POSITION
from compress.programs import DecodeProgram, EncodeProgram
from compress.quantize import FLOAT, quantise_linears
from compress.whisper import LayerNorm
from device_asr.errors import DeviceAsrError

CACHE = 224  # token slots: 28 s of fast English is about 120 tokens; Whisper's own sample length
TOKENS_PER_CALL = 32  # drafts are checked in batches of at most this many
EXAMPLE_POSITIONS = 250
EXAMPLE_TOKENS = 3


class ExportError(DeviceAsrError):
    """The program does not do what the network does, or lacks what the runtime needs."""


@dataclass(frozen=True)
class SpeechProgram:
    """The .pte with what the manifest says of it.

    methods: name -> {inputs, outputs}. constants: input -> {offset, shape, dtype} in the file.
    parity: method -> largest and mean difference between fp32, quantised network and .pte.
    """

    data: bytes
    methods: Mapping[str, Any]
    constants: Mapping[str, Any]
    parity: Mapping[str, Mapping[str, float]]


def export_speech(checkpoint: Checkpoint, bits: int = 8, group: int | None = None,
                  sample: np.ndarray | None = None) -> SpeechProgram:
    """Quantises and exports a checkpoint.

    Args:
        bits, group: see `quantise_linears`.
        sample: (n,) float32 speech for the parity report; None: noise.

    Raises:
        DelegationError: a heavy operation was left to portable kernels.
        ExportError: the tied embedding does not lie in the file as expected.
    """
    exact = _programs(checkpoint, FLOAT, None)
    encode, decode = _programs(checkpoint, bits, group)
    table, scales = _tied_table(decode, exact[1])
    layers = len(checkpoint.dims.decoder)
    example = _example(checkpoint, table, scales)
    with torch.no_grad():
        exported = {
            "encode": _export_encode(encode),
            "decode": _export_decode(decode, example, layers),
        }
    data = lower(exported)
    constants = _locate(data, table, scales, bits)
    parity = _parity(checkpoint, data, exact, (encode, decode), table, scales, sample)
    return SpeechProgram(data, _describe(checkpoint), constants, parity)


def _programs(checkpoint: Checkpoint, bits: int, group: int | None) -> tuple[EncodeProgram, DecodeProgram]:
    network = checkpoint.network().requires_grad_(False)
    for module in network.modules():
        if isinstance(module, LayerNorm):
            module.decomposed = True
    encode = EncodeProgram(network).eval()
    decode = DecodeProgram(network, checkpoint.alignment_heads, CACHE).eval()
    quantise_linears(encode, bits, group)
    if bits == 4:  # the tied embedding stays int8: the runtime maps its rows from the program file
        quantise_linears(decode, 8, only=("logits",))
    quantise_linears(decode, bits, group)
    return encode, decode


def _tied_table(decode: DecodeProgram, exact: DecodeProgram) -> tuple[Tensor, Tensor]:
    """int8 rows and scales of the logits' weights, (vocab, state) and (vocab,)."""
    weight = decode.logits.weight
    if hasattr(weight, "qdata"):
        return weight.qdata.contiguous(), weight.scale.reshape(-1).to(torch.float32).contiguous()
    rows = exact.logits.weight.detach()
    return rows.contiguous(), torch.ones(rows.shape[0])


def _example(checkpoint: Checkpoint, table: Tensor, scales: Tensor) -> tuple[Any, ...]:
    dims = checkpoint.dims
    tokens = torch.arange(EXAMPLE_TOKENS)
    self_keys = [torch.zeros(x.heads, dims.head_dim, CACHE) for x in dims.decoder]
    self_values = [torch.zeros(x.heads, CACHE, dims.head_dim) for x in dims.decoder]
    # contiguous on purpose: an example with other strides is baked into the program's input layout
    cross_keys = [torch.randn(x.cross_heads, dims.head_dim, EXAMPLE_POSITIONS) for x in dims.decoder]
    cross_values = [torch.randn(x.cross_heads, EXAMPLE_POSITIONS, dims.head_dim) for x in dims.decoder]
    # copies: an example that shares storage with the logits' weights would be traced as those weights
    return tokens, torch.tensor([0]), table.clone(), scales.clone(), self_keys, self_values, cross_keys, cross_values


def _export_encode(program: EncodeProgram) -> ExportedProgram:
    positions = Dim("positions", min=2, max=program.encoder.dims.audio_ctx)
    pcm = torch.randn(1, SAMPLES_PER_POSITION * EXAMPLE_POSITIONS) * 0.1
    return export(program, (pcm,), dynamic_shapes=({1: SAMPLES_PER_POSITION * positions},))


def _export_decode(program: DecodeProgram, example: tuple[Any, ...], layers: int) -> ExportedProgram:
    positions = Dim("positions", min=2, max=1500)
    count = Dim("tokens", min=1, max=TOKENS_PER_CALL)
    shapes = ({0: count}, None, None, None, [None] * layers, [None] * layers,
              [{2: positions}] * layers, [{1: positions}] * layers)
    return export(program, example, dynamic_shapes=shapes)


def _locate(data: bytes, table: Tensor, scales: Tensor, bits: int) -> dict[str, Any]:
    """Where the tied embedding lies in the file: the runtime maps it as the input `table`."""
    found = {}
    for name, tensor in (("table", table), ("scales", scales)):
        offset = data.find(tensor.numpy().tobytes())
        if offset < 0 and not (bits == FLOAT and name == "scales"):
            raise ExportError(f"Wanted the bytes of {name} {tuple(tensor.shape)} in the program, found none: the "
                              "delegate stores weights in another form, so the embedding cannot be tied.")
        found[name] = {"offset": offset, "shape": list(tensor.shape), "dtype": str(tensor.numpy().dtype)}
    return found


def _describe(checkpoint: Checkpoint) -> dict[str, Any]:
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
    heads = len(checkpoint.alignment_heads)
    return {
        "encode": {"inputs": [tensor("pcm", [1, "320 * positions"])], "outputs": cross},
        "decode": {
            "inputs": [tensor("tokens", ["tokens"], "int64"), tensor("position", [1], "int64"),
                       tensor("table", [dims.vocab, dims.state], "int8"), tensor("scales", [dims.vocab]), *own, *cross],
            "outputs": [tensor("logits", ["tokens", dims.vocab]),
                        tensor("alignment", [heads, "tokens", "positions"]), *new],
        },
    }


def _parity(checkpoint: Checkpoint, data: bytes, exact: tuple[EncodeProgram, DecodeProgram],
            quantised: tuple[EncodeProgram, DecodeProgram], table: Tensor, scales: Tensor,
            sample: np.ndarray | None) -> dict[str, dict[str, float]]:
    """fp32 against quantised against .pte on one phrase; decode is given the same inputs in all three."""
    from device_asr.runtime import Session

    if sample is None:
        sample = np.random.default_rng(0).normal(0, 0.05, 16_000 * 4).astype(np.float32)
    sample = sample[: len(sample) // SAMPLES_PER_POSITION * SAMPLES_PER_POSITION][: 16_000 * 20]
    pcm = torch.from_numpy(np.ascontiguousarray(sample[None], dtype=np.float32))
    methods = {name: [i["name"] for i in method["inputs"]] for name, method in _describe(checkpoint).items()}
    with tempfile.NamedTemporaryFile(suffix=".pte") as file:
        file.write(data)
        file.flush()
        session = Session(Path(file.name), methods)
        with torch.no_grad():
            fp32, int8 = exact[0](pcm), quantised[0](pcm)
        pte = session.run("encode", pcm.numpy())
        report = {"encode": _difference(fp32, int8, pte)}
        layers = len(checkpoint.dims.decoder)
        _, _, _, _, self_keys, self_values, _, _ = _example(checkpoint, table, scales)
        cross = [tensor.contiguous() for tensor in fp32]
        tokens, position = torch.tensor(checkpoint.vocabulary.prompt), torch.tensor([0])
        args = (tokens, position, table, scales, self_keys, self_values, cross[:layers], cross[layers:])
        full = exact[1].logits.weight.detach()
        with torch.no_grad():
            fp32 = exact[1](tokens, position, full, torch.ones(len(full)), *args[4:])
            int8 = quantised[1](*args)
        flat = [array.numpy() for group in args for array in (group if isinstance(group, list) else [group])]
        report["decode"] = _difference(fp32[:1], int8[:1], session.run("decode", *flat)[:1])
    return report


def _difference(fp32: Any, quantised: Any, pte: Any) -> dict[str, float]:
    """Root mean square of the differences relative to the fp32 values, and the largest absolute one."""
    def flat(tensors: Any) -> np.ndarray:
        return np.concatenate([np.asarray(t, dtype=np.float64).reshape(-1) for t in tensors])

    a, b, c = flat(fp32), flat(quantised), flat(pte)
    scale = float(np.sqrt(np.mean(a * a))) or 1.0
    return {
        "quantised_vs_fp32_rms": round(float(np.sqrt(np.mean((b - a) ** 2))) / scale, 6),
        "pte_vs_quantised_rms": round(float(np.sqrt(np.mean((c - b) ** 2))) / scale, 6),
        "pte_vs_fp32_rms": round(float(np.sqrt(np.mean((c - a) ** 2))) / scale, 6),
        "pte_vs_fp32_max": round(float(np.abs(c - a).max()), 5),
    }
