"""Moonshine's frontend: three convolutions over samples, with a normalization over all audio so far.

A convolution is a linear layer over neighboring frames. The first has a width of 127 samples and a stride of 64: a
linear layer over two hops of 64 samples, whose last column the checkpoints leave at zero. The second (width 7,
stride 3) and the third (3, 2) follow it, so that a position begins every 384 samples and reads 895.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from compress.networks.chunking import Chunking

HOP = 64  # samples
FIRST_WIDTH = 127  # samples of the first convolution
SAMPLES_PER_POSITION = 6 * HOP  # 24 ms
WINDOW = 12 * HOP + FIRST_WIDTH  # samples that a position reads, 56 ms
OVERHANG = WINDOW - 1  # samples after a position's first that it needs
SHORTEST = 3 * SAMPLES_PER_POSITION  # samples of one position; shorter audio is padded to it
FRAMES_BEFORE = 7  # frames of the first convolution that the first position reads besides its 6
EPS = 1e-5


class Hops(nn.Module):
    """PCM (batch, samples) to hops (batch, samples / 64, 64); the convolutions belong to the encoder."""

    def forward(self, pcm: Tensor, chunk: int | None = None) -> Tensor:  # noqa: ARG002 - all frontends are called alike
        return pcm.view(pcm.shape[0], -1, HOP)


def triples(frames: Tensor) -> Tensor:
    """Windows (batch, n, 7 * width) of frames (batch, 3 n + 4 or 5 or 6, width), three frames apart."""
    batch, count, width = frames.shape
    n = (count - 4) // 3
    groups = frames[:, : 3 * (n + 1)].reshape(batch, n + 1, 3 * width)
    third = torch.cat([groups[:, 2:, :width], frames[:, 3 * n + 3 : 3 * n + 4]], dim=1)
    return torch.cat([groups[:, :-1], groups[:, 1:], third], dim=2)


def pairs(frames: Tensor) -> Tensor:
    """Windows (batch, n, 3 * width) of frames (batch, 2 n + 1 or 2, width), two frames apart."""
    batch, count, width = frames.shape
    n = (count - 1) // 2
    groups = frames[:, : 2 * n].reshape(batch, n, 2 * width)
    third = torch.cat([groups[:, 1:, :width], frames[:, 2 * n : 2 * n + 1]], dim=1)
    return torch.cat([groups, third], dim=2)


def first_frames(samples: Tensor) -> Tensor:
    """Frames of the first convolution of recordings of so many samples, int64, at least 1."""
    return (torch.div(samples - FIRST_WIDTH, HOP, rounding_mode="floor") + 1).clamp(min=1)


def whole_moments(first: Tensor, counts: Tensor | None) -> tuple[Tensor, Tensor]:
    """Mean and mean square over a recording, (batch, 1, 1) each.

    Args:
        first: (batch, frames, channels). counts: (batch,) frames of each recording; None: all.
    """
    if counts is None:
        flat = first.flatten(1).unsqueeze(1).unsqueeze(1)  # XNNPACK's mean takes the last two axes of four
        return flat.mean((2, 3), keepdim=True)[:, 0], (flat * flat).mean((2, 3), keepdim=True)[:, 0]
    inside = torch.arange(first.shape[1], device=first.device)[None] < counts[:, None]
    heard = torch.where(inside[:, :, None], first, 0.0)
    size = (counts * first.shape[2])[:, None, None]
    return heard.sum((1, 2), keepdim=True) / size, (heard * heard).sum((1, 2), keepdim=True) / size


def running_moments(first: Tensor, counts: Tensor, chunking: Chunking) -> tuple[Tensor, Tensor]:
    """Mean and mean square of the audio so far for each frame of the second convolution.

    The frames that a chunk brings share theirs, over all frames up to its end. The first block's chunks share
    those at the block's end: nothing of them is final before. Without that the first words are normalized by
    a few frames of silence.

    Args:
        first: (batch, frames, channels). counts: (batch,) frames of each recording.

    Returns:
        (batch, frames of the second convolution, 1) each.
    """
    channels, frames = first.shape[2], first.shape[1]
    inside = torch.arange(frames, device=first.device)[None] < counts[:, None]
    heard = torch.where(inside[:, :, None], first, 0.0)
    second = (frames - FRAMES_BEFORE) // 3 + 1
    positions = ((torch.arange(second, device=first.device) - 1) // 2).clamp(min=0)  # that need the frame first
    chunks = torch.div(positions, chunking.size, rounding_mode="floor").clamp(min=chunking.look_ahead)
    read = (chunks + 1) * 6 * chunking.size + FRAMES_BEFORE  # frames of the first convolution until a chunk's end
    read = read[None].clamp(max=frames).minimum(counts[:, None])
    size = (read * channels).to(first.dtype)
    sums = (values.sum(2).double().cumsum(1).to(first.dtype) for values in (heard, heard * heard))
    mean, square = (total.gather(1, read - 1) / size for total in sums)
    return mean.unsqueeze(2), square.unsqueeze(2)
