"""Names of this network's tensors in the checkpoints of other programs."""

from __future__ import annotations

from collections.abc import Mapping

# our name of a layer's part -> (OpenAI's, Hugging Face's)
_PARTS = {
    "attention.query": ("attn.query", "self_attn.q_proj"),
    "attention.key": ("attn.key", "self_attn.k_proj"),
    "attention.value": ("attn.value", "self_attn.v_proj"),
    "attention.out": ("attn.out", "self_attn.out_proj"),
    "attention_norm": ("attn_ln", "self_attn_layer_norm"),
    "cross.query": ("cross_attn.query", "encoder_attn.q_proj"),
    "cross.key": ("cross_attn.key", "encoder_attn.k_proj"),
    "cross.value": ("cross_attn.value", "encoder_attn.v_proj"),
    "cross.out": ("cross_attn.out", "encoder_attn.out_proj"),
    "cross_norm": ("cross_attn_ln", "encoder_attn_layer_norm"),
    "ffn.up": ("mlp.0", "fc1"),
    "ffn.down": ("mlp.2", "fc2"),
    "ffn_norm": ("mlp_ln", "final_layer_norm"),
}
_WHOLE = {
    "encoder.positions": ("encoder.positional_embedding", "encoder.embed_positions.weight"),
    "decoder.positions": ("decoder.positional_embedding", "decoder.embed_positions.weight"),
    "decoder.embedding.weight": ("decoder.token_embedding.weight", "decoder.embed_tokens.weight"),
    "encoder.norm": ("encoder.ln_post", "encoder.layer_norm"),
    "decoder.norm": ("decoder.ln", "decoder.layer_norm"),
}
CTRANSLATE2_NORMS = {
    "attention_norm": "self_attention/layer_norm",
    "cross_norm": "attention/layer_norm",
    "ffn_norm": "ffn/layer_norm",
}
CONVOLUTIONS = ("encoder.conv1.weight", "encoder.conv2.weight")
OPENAI, HUGGING_FACE = 0, 1


def is_convolution(name: str) -> bool:
    """Whether a tensor is the weight of a convolution, which this network keeps as a linear layer."""
    return name in CONVOLUTIONS


def their_name(ours: str, style: int) -> str:
    """The name of our tensor in OpenAI's (0) or Hugging Face's (1) checkpoints."""
    side, *rest = ours.split(".")
    if rest[0] == "layers":
        part, kind = ".".join(rest[2:-1]), rest[-1]
        block = ("blocks", "layers")[style]
        return f"{side}.{block}.{rest[1]}.{_PARTS[part][style]}.{kind}"
    for mine, theirs in _WHOLE.items():
        if ours == mine:
            return theirs[style]
        if ours.startswith(mine + "."):
            return f"{theirs[style]}.{rest[-1]}"
    return ours  # the convolutions are named alike


def tensor_names(layers: Mapping[str, int]) -> list[str]:
    """Our names of all tensors of a network with so many layers a side."""
    names = [f"encoder.conv{k}.{kind}" for k in (1, 2) for kind in ("weight", "bias")]
    for side, count in layers.items():
        for part in _PARTS:
            if side == "encoder" and part.startswith("cross"):
                continue
            kinds = ("weight",) if part.endswith(".key") else ("weight", "bias")
            names += [f"{side}.layers.{i}.{part}.{kind}" for i in range(count) for kind in kinds]
    names += [f"{side}.norm.{kind}" for side in layers for kind in ("weight", "bias")]
    return [*names, "encoder.positions", "decoder.positions", "decoder.embedding.weight"]


def adapter_targets(layers: int) -> dict[str, str]:
    """The name of each adapter of an encoder of so many layers, and the name of the linear layer that it changes."""
    parts = [*(f"attention.{name}" for name in ("query", "key", "value", "out")), "ffn.up", "ffn.down"]
    return {f"adapters.{i}.{part}": f"encoder.layers.{i}.{part}" for i in range(layers) for part in parts}
