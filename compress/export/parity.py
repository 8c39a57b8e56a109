"""Parity of exported programs: fp32 against the quantized network against the .pte on one utterance."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from compress.export.sizes import CACHE
from compress.networks.checkpoint import Checkpoint
from compress.networks.network import StreamModule
from device_asr.audio.format import SAMPLE_RATE
from device_asr.bundle.method import open_program
from device_asr.runtime.session import Session


def parity_report(
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
    pcm = _audio(sample, checkpoint.family_of().samples_per_position)
    with _session(data, described) as session:
        with torch.no_grad():
            fp32, int8 = exact[0](pcm), quantized[0](pcm)
        pte = session.run("encode", pcm.numpy())
        report = {"encode": _difference(fp32, int8, pte)}
        layers = len(checkpoint.dims.decoder)
        cross = [tensor.contiguous() for tensor in fp32]
        tokens, position = torch.tensor(checkpoint.vocabulary.prompt), torch.tensor([0])
        rest = (*checkpoint.family_of().caches(checkpoint.dims, CACHE), cross[:layers], cross[layers:])
        with torch.no_grad():
            fp32 = exact[1](tokens, position, exact[2], *rest)
            int8 = quantized[1](tokens, position, quantized[2], *rest)
        args = (tokens, position, quantized[2], *rest)
        flat = [tensor.numpy() for tensor in flattened(args)]
        report["decode"] = _difference(fp32[:1], int8[:1], session.run("decode", *flat)[:1])
    return report


def stream_parity(
    checkpoint: Checkpoint,
    data: bytes,
    described: Mapping[str, Any],
    programs: tuple[StreamModule, StreamModule],
    sample: np.ndarray | None,
) -> dict[str, float]:
    """Differences of the final CTC logits of all chunks of one utterance, each program with a state of its own.

    programs: fp32 and quantized.
    """
    family, chunking = checkpoint.family_of(), programs[0].chunking
    pcm, size = _audio(sample, family.samples_per_position), described["inputs"][0]["shape"][1]
    logits: list[list[Any]] = [[], [], []]
    final = slice(chunking.size)
    with _session(data, {"stream": described}) as session, torch.no_grad():
        empty = family.stream_arguments(checkpoint.dims, chunking)[1:]
        states: list[Any] = [empty, empty, [tensor.numpy() for tensor in flattened(empty)]]
        for at in range(0, pcm.shape[1] - size + 1, size):
            chunk = pcm[:, at : at + size]
            for k, program in enumerate(programs):
                out = program(chunk, *states[k])
                states[k] = program.state_of(out)
                logits[k].append(out[0][final])
            out = session.run("stream", chunk.numpy(), *states[2])
            logits[2].append(out[0][final].copy())
            states[2] = [array.copy() for array in out[-len(states[2]) :]]
    # the first calls bring positions before the audio
    return _difference(*(scores[chunking.look_ahead :] for scores in logits))


def flattened(arguments: tuple[Any, ...]) -> list[Tensor]:
    """The arguments with the lists of layers laid out, as a session takes them."""
    return [tensor for group in arguments for tensor in (group if isinstance(group, list) else [group])]


def _audio(sample: np.ndarray | None, multiple: int) -> Tensor:
    """(1, n) of the sample, at most 20 s; noise where there is none."""
    if sample is None:
        sample = np.random.default_rng(0).normal(0, 0.05, SAMPLE_RATE * 4).astype(np.float32)
    sample = sample[: len(sample) // multiple * multiple][: SAMPLE_RATE * 20]
    return torch.from_numpy(np.ascontiguousarray(sample[None], dtype=np.float32))


@contextmanager
def _session(data: bytes, described: Mapping[str, Any]) -> Iterator[Session]:
    with tempfile.NamedTemporaryFile(suffix=".pte") as file:
        file.write(data)
        file.flush()
        yield open_program(Path(file.name), described)


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
