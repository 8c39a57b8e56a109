"""The Silero voice activity detector (MIT), rebuilt from its weights and exported to its own .pte.

Architecture after silero-vad's own description of its 16 kHz network: an STFT as a convolution,
four convolutions, an LSTM cell, one output. Convolutions are written as linear layers over slices,
which XNNPACK takes whole.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from compress.networks.layers import conv_to_linear
from compress.networks.weights import CheckpointError

CONTEXT = 64  # samples before a step that it is given too
WINDOW, STRIDE, MIRROR = 256, 128, 64  # samples
BINS = WINDOW // 2 + 1
STATE = 128


def weights_path() -> Path:
    """The weights in the package silero-vad, not imported.

    Its TorchScript file, because the package's silero_vad_16k.safetensors holds an older training of the
    same network (probabilities differ by up to 0.48 on assets/letter.flac).

    Raises:
        CheckpointError: the package, or the file in it, is missing.
    """
    spec = importlib.util.find_spec("silero_vad")
    folder = Path(next(iter(spec.submodule_search_locations or ()))) if spec else None
    path = folder / "data" / "silero_vad.jit" if folder else None
    if path is None or not path.is_file():
        raise CheckpointError(
            "The VAD's weights (silero_vad.jit) are not installed; run: pip install 'device-asr[compress]'"
        )
    return path


class SileroStep(nn.Module):
    """One 32 ms step: PCM, context and state in, speech probability, context and state out."""

    def __init__(self) -> None:
        super().__init__()
        self.stft = nn.Linear(WINDOW, 2 * BINS, bias=False)
        sizes = ((BINS, 128), (128, 64), (64, 64), (64, 128))
        self.convs = nn.ModuleList(nn.Linear(3 * inner, outer) for inner, outer in sizes)
        self.strides = (1, 2, 2, 1)
        self.input_gates = nn.Linear(STATE, 4 * STATE)
        self.state_gates = nn.Linear(STATE, 4 * STATE)
        self.output = nn.Linear(STATE, 1)

    def forward(self, pcm: Tensor, context: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, ...]:
        """Args:
            pcm: (1, 512). context: (1, 64), the samples before. hidden, cell: (1, 128).

        Returns:
            probability (1, 1), and the next step's context, hidden and cell.
        """
        x = torch.cat([context, pcm], 1)
        x = torch.cat([x, x[:, -MIRROR - 1 : -1].flip(1)], 1)
        count = (x.shape[1] - WINDOW) // STRIDE + 1
        frames = torch.cat([x[:, k * STRIDE : k * STRIDE + WINDOW] for k in range(count)], 0)
        spectrum = self.stft(frames)
        real, imaginary = spectrum[:, :BINS], spectrum[:, BINS:]
        x = torch.sqrt(real * real + imaginary * imaginary)
        for conv, stride in zip(self.convs, self.strides, strict=True):
            x = F.relu(conv(_neighbors(x, stride)))
        gates = self.input_gates(x) + self.state_gates(hidden)
        take, forget, candidate, give = (gates[:, k * STATE : (k + 1) * STATE] for k in range(4))
        cell = torch.sigmoid(forget) * cell + torch.sigmoid(take) * torch.tanh(candidate)
        hidden = torch.sigmoid(give) * torch.tanh(cell)
        return torch.sigmoid(self.output(F.relu(hidden))), pcm[:, -CONTEXT:].clone(), hidden, cell


def _neighbors(x: Tensor, stride: int) -> Tensor:
    """(n, channels) -> (n / stride, 3 * channels): previous, this and next row, zeros beyond the edges."""
    edge = torch.zeros(1, x.shape[1])
    padded = torch.cat([edge, x, edge], 0)
    rows = range(0, x.shape[0], stride)
    return torch.cat([padded[k : k + 3].reshape(1, -1) for k in rows], 0)


def load_silero(path: Path | None = None) -> SileroStep:
    """The detector with the 16 kHz weights of `path`, a TorchScript file; None: the package's.

    Raises:
        CheckpointError: missing, or another network.
    """
    path = path or weights_path()
    step = SileroStep()
    try:
        raw = {name.removeprefix("_model."): tensor for name, tensor in torch.jit.load(path).state_dict().items()}
        state = {
            "stft.weight": raw["stft.forward_basis_buffer"].squeeze(1),
            "output.weight": raw["decoder.decoder.2.weight"].squeeze(-1),
            "output.bias": raw["decoder.decoder.2.bias"],
        }
        for ours, theirs in (("input_gates", "ih"), ("state_gates", "hh")):
            state[f"{ours}.weight"] = raw[f"decoder.rnn.weight_{theirs}"]
            state[f"{ours}.bias"] = raw[f"decoder.rnn.bias_{theirs}"]
        for k in range(4):
            conv = raw[f"encoder.{k}.reparam_conv.weight"]
            state[f"convs.{k}.weight"] = conv_to_linear(conv)
            state[f"convs.{k}.bias"] = raw[f"encoder.{k}.reparam_conv.bias"]
        step.load_state_dict(state)
    except (KeyError, RuntimeError, ValueError) as error:
        raise CheckpointError(f"{path}: wanted the Silero VAD of version 6, found something else ({error}).") from None
    return step.eval().requires_grad_(False)
