"""Fake quantization: float arithmetic that rounds as the program will, to train through or to measure with."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from compress.networks.checkpoint import Checkpoint
from compress.networks.network import SpeechNetwork
from compress.quantize.plan import FLOAT, QuantizationPlan, Width
from device_asr.errors import UsageError


class FakeQuantizedEmbedding(nn.Embedding):
    """An embedding whose `weight` is rounded wherever it is read, the tied logits included.

    The float weights stay the parameter `weight` of the state, so that training's averages and
    checkpoints know no other names. Gradients pass the rounding unchanged.
    """

    def __init__(self, embedding: nn.Embedding, width: Width) -> None:
        nn.Module.__init__(self)
        for name in ("num_embeddings", "embedding_dim", *nn.Embedding.__constants__):
            setattr(self, name, getattr(embedding, name))
        self._parameters["weight"] = embedding.get_parameter("weight")
        self.rounding: Any = _weight_rounding(width)

    @property
    def exact(self) -> nn.Parameter:
        """(vocab, state), the float weights."""
        weight = self._parameters["weight"]
        assert weight is not None  # set where it is made
        return weight

    @property
    def weight(self) -> Tensor:  # type: ignore[override]
        """(vocab, state), rounded."""
        rounded: Tensor = self.rounding(self.exact)
        return rounded


def prepare_qat(network: SpeechNetwork, plan: QuantizationPlan) -> SpeechNetwork:
    """Puts fake quantization around the linear layers and the token embedding, in place.

    Parameters keep their names and their float values: optimizer, averages and checkpoints go on as before.

    Raises:
        UsageError: static activations, or see `QuantizationPlan.widths`.
    """
    from torchao.quantization import quantize_
    from torchao.quantization.qat import QATConfig

    _only_dynamic(plan)
    activations = _activation_config()
    by_width: dict[Width, set[str]] = {}
    for name, width in plan.widths(network).items():
        by_width.setdefault(width, set()).add(name)
    for width, names in by_width.items():
        if width.bits != FLOAT:
            config = QATConfig(activation_config=activations, weight_config=_weight_config(width), step="prepare")
            quantize_(network, config, lambda _, name, names=names: name in names)
    if plan.embedding != FLOAT:
        network.replace_embedding(FakeQuantizedEmbedding(network.embedding, plan.table))
        network.logits_input.register_forward_hook(LogitsRounding())
    return network


class LogitsRounding:
    """Forward hook of the decoder's last norm: its output, all that the logits see, is rounded to int8 per token."""

    def __init__(self) -> None:
        from torchao.quantization.qat.fake_quantizer import FakeQuantizerBase

        self.rounding = FakeQuantizerBase.from_config(_activation_config())

    def __call__(self, _module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
        return self.rounding(output)


def simulate(checkpoint: Checkpoint, plan: QuantizationPlan) -> SpeechNetwork:
    """A float network that answers as the quantized program will: weights rounded once, activations as they come.

    For measuring a plan without exporting it; not for training (see `prepare_qat`).

    Raises:
        UsageError: static activations, or see `QuantizationPlan.widths`.
    """
    network = prepare_qat(checkpoint.network().requires_grad_(False), plan)
    for module in network.modules():
        quantizer = getattr(module, "weight_fake_quantizer", None)
        if quantizer is not None:
            weight = module.get_parameter("weight")
            weight.copy_(quantizer(weight))
            quantizer.enabled = False
    embedding = network.embedding
    if isinstance(embedding, FakeQuantizedEmbedding):
        embedding.exact.copy_(embedding.weight)
        embedding.rounding.enabled = False
    return network


def _only_dynamic(plan: QuantizationPlan) -> None:
    if plan.activations != "dynamic":
        raise UsageError(
            "Fake quantization knows dynamic activations only: static ranges are measured on the exported "
            'graph. Wanted activations = "dynamic" here; export_speech measures a static plan.'
        )


def _activation_config() -> Any:
    from torchao.quantization.qat import IntxFakeQuantizeConfig

    return IntxFakeQuantizeConfig(torch.int8, "per_token", is_symmetric=False)


def _weight_config(width: Width) -> Any:
    from torchao.quantization.qat import IntxFakeQuantizeConfig

    granularity = {"granularity": "per_channel"} if width.group is None else {"group_size": width.group}
    return IntxFakeQuantizeConfig(
        torch.int8 if width.bits == 8 else torch.int4,  # type: ignore[attr-defined]  # not in torch's stubs
        is_symmetric=True,
        scale_precision=torch.float32 if width.bits == 8 else torch.bfloat16,
        **granularity,
    )


def _weight_rounding(width: Width) -> nn.Module:
    from torchao.quantization.qat.fake_quantizer import FakeQuantizerBase

    return FakeQuantizerBase.from_config(_weight_config(width))
