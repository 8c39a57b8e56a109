"""Sizes and a checkpoint of a Moonshine network that is made and exported in no time."""

from __future__ import annotations

import torch

from compress.networks.checkpoint import Checkpoint, add_adapters, add_ctc
from compress.networks.dims import LayerDims
from compress.networks.moonshine.dims import MoonshineDims
from compress.networks.moonshine.network import Moonshine
from compress.networks.moonshine.tokens import moonshine_vocabulary

DIMS = MoonshineDims(
    conv1=16,
    conv2=24,
    rotary=8,
    state=32,
    head_dim=16,
    audio_ctx=1250,
    text_ctx=194,
    vocab=260,
    encoder=(LayerDims(2, 64), LayerDims(1, 64)),
    decoder=(LayerDims(2, 64, 2),),
)
VOCABULARY = moonshine_vocabulary((*(bytes([byte]) for byte in range(256)), b" a", b" b"), {"end": 258, "start": 259})


def random_network() -> Moonshine:
    """A network whose normalizations and biases are random too."""
    torch.manual_seed(0)
    network = Moonshine(DIMS).requires_grad_(False)
    for name, weight in network.named_parameters():
        if name.endswith("bias") or "norm" in name:
            torch.nn.init.normal_(weight, 1.0 if name.endswith("weight") else 0.0, 0.2)
    network.encoder.conv1.weight.mul_(4)
    network.encoder.conv1.weight[:, -1] = 0  # the checkpoints' have 127 columns
    return network.eval()


def random_checkpoint(layers: tuple[int, ...] = (), reach: int = 0) -> Checkpoint:
    """With a CTC head, which reads these layers and so far around, and adapters that say and change something."""
    plain = Checkpoint(DIMS, random_network().state_dict(), VOCABULARY, ((0, 1),), ("random",))
    made = add_adapters(add_ctc(plain, layers, reach), 4)
    for name, weight in made.weights.items():
        if name.startswith("adapters.") and ".up." in name:
            torch.nn.init.normal_(weight, std=0.2)
        elif name == "ctc.out.weight":
            torch.nn.init.normal_(weight)
    return made
