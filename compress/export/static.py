"""Static int8 activations: ranges are measured on speech, then fixed in the program.

XNNPACK takes the result whole with dynamic shapes (encode and decode of a small network: no heavy
operation is left, .pte against the converted graph 0.0002-0.002 relative RMS). Only linear layers are
annotated: XNNPACK's quantizer would otherwise put the residual sums and the products inside LayerNorm
through 8 bits too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import export

from compress.networks.dims import Dims
from device_asr.errors import UsageError

Spoken = tuple[np.ndarray, Sequence[int]]  # (n,) float32 at 16 kHz, and all token ids of it, prompt first


def fix_ranges(
    program: nn.Module, example: tuple[Any, ...], shapes: Any, layers: Collection[str], calls: Iterable[tuple[Any, ...]]
) -> nn.Module:
    """`program` with int8 weights per channel and int8 activations per tensor in the named linear layers.

    Args:
        example, shapes: arguments and dynamic shapes, as for torch.export.
        calls: arguments to measure the ranges with.

    Raises:
        UsageError: no calls.
    """
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    quantizer = XNNPACKQuantizer()
    for name in layers:
        quantizer.set_module_name(name, get_symmetric_quantization_config(is_per_channel=True))
    count = 0
    with torch.no_grad():
        observed = prepare_pt2e(export(program, example, dynamic_shapes=shapes).module(), quantizer)
        for call in calls:
            observed(*call)
            count += 1
        if count == 0:
            raise UsageError(
                "Static activations: wanted clips of speech with their tokens to measure the ranges with, "
                'found none; give some, or set activations = "dynamic".'
            )
        return convert_pt2e(observed)


def encode_calls(clips: Iterable[Spoken], dims: Dims, samples_per_position: int) -> Iterator[tuple[Tensor]]:
    """Arguments of `encode` for each clip, cut to whole positions and to what the encoder knows."""
    for audio, _ in clips:
        positions = min(len(audio) // samples_per_position, dims.audio_ctx)
        if positions >= 2:
            pcm = np.ascontiguousarray(audio[None, : positions * samples_per_position], dtype=np.float32)
            yield (torch.from_numpy(pcm),)


def decode_calls(
    clips: Sequence[Spoken],
    dims: Dims,
    samples_per_position: int,
    programs: tuple[nn.Module, nn.Module],
    table: list[Tensor],
    caches: tuple[list[Tensor], list[Tensor]],
    at_once: int,
) -> Iterator[tuple[Any, ...]]:
    """Arguments of `decode` for each clip's tokens, `at_once` a call, the caches filled as the runtime does."""
    (encode, decode), count = programs, len(dims.decoder)
    for clip in clips:
        for arguments in encode_calls([clip], dims, samples_per_position):
            cross = [tensor.contiguous() for tensor in encode(*arguments)]
            keys, values = ([tensor.clone() for tensor in cache] for cache in caches)
            tokens = torch.tensor(list(clip[1])[: keys[0].shape[2]])
            for at in range(0, len(tokens), at_once):
                fed = tokens[at : at + at_once]
                call = (fed, torch.tensor([at]), table, keys, values, cross[:count], cross[count:])
                yield call
                new = decode(*call)[-2 * count :]
                for i in range(count):
                    keys[i][:, :, at : at + len(fed)] = new[i]
                    values[i][:, at : at + len(fed)] = new[count + i]
