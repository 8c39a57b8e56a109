"""Programs that tests export: an export takes half a minute, so a test run makes each of them once."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch

from compress.export.export import SpeechProgram
from compress.networks.family import family_of
from compress.networks.network import SpeechNetwork
from tests.support.run import made_once

SILENCE = {"whisper": 0, "moonshine": 512}  # samples: what a last position reads behind its own


def exported_once(factory: pytest.TempPathFactory, name: str, export: Callable[[], SpeechProgram]) -> SpeechProgram:
    """The program that `export` makes, of the first worker that asks for this name."""
    path = made_once(factory, f"{name}.pickle", lambda out: out.write_bytes(pickle.dumps(export())))
    program: SpeechProgram = pickle.loads(path.read_bytes())
    return program


@torch.no_grad()
def whole_logits(network: SpeechNetwork, pcm: np.ndarray, tokens: Sequence[int]) -> np.ndarray:
    """Logits (n, vocab) of `tokens` that the programs compute from pcm (1, whole positions), by the network at once.

    The network is given the silence that the program `encode` adds.
    """
    family, silence = family_of(network.dims), SILENCE[network.dims.family]
    padded = torch.nn.functional.pad(torch.from_numpy(pcm), (0, silence + -silence % family.samples_per_position))
    lengths = torch.tensor([pcm.shape[1] + silence])
    logits: np.ndarray = network(padded, torch.tensor([list(tokens)]), lengths)[0].numpy()
    return logits
