"""Names of this network's tensors in the checkpoints of other programs."""

from __future__ import annotations

from collections.abc import Mapping

# our name of a layer's part -> (ONNX Runtime's file of Moonshine, Hugging Face's)
_ATTENTION = {
    "query": ("q_proj", "q_proj"),
    "key": ("k_proj", "k_proj"),
    "value": ("v_proj", "v_proj"),
    "out": ("dense", "o_proj"),
}
_NORMS = {
    "encoder": {"attention_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm"},
    "decoder": {
        "attention_norm": "input_layernorm",
        "cross_norm": "post_attention_layernorm",
        "ffn_norm": "final_layernorm",
    },
}
_FFN = {
    "encoder": {"up": ("fc1", "fc1"), "down": ("fc2", "fc2")},
    "decoder": {"up": ("up_proj", "fc1"), "down": ("down_proj", "fc2")},
}
_CONVOLUTIONS = {"conv1": False, "conv2": True, "conv3": True}  # name -> has a bias
ONNXRUNTIME, HUGGING_FACE = 0, 1
PREFIX = ({"encoder": "encoder.", "decoder": "decoder.model.decoder."}, {"encoder": "encoder.", "decoder": "decoder."})


def their_names(layers: Mapping[str, int], style: int) -> dict[str, str]:
    """Our name of each tensor of a network with so many layers a side -> that in ONNX Runtime's (0) or Hugging Face's.

    Hugging Face's are without `model.` before them.
    """
    names = {}
    for side, count in layers.items():
        prefix = PREFIX[style][side]
        for i in range(count):
            ours, theirs = f"{side}.layers.{i}", f"{prefix}layers.{i}"
            parts = {"attention": "self_attn", **({"cross": "encoder_attn"} if side == "decoder" else {})}
            for part, their_part in parts.items():
                for linear, their_linear in _ATTENTION.items():
                    names[f"{ours}.{part}.{linear}.weight"] = f"{theirs}.{their_part}.{their_linear[style]}.weight"
            for norm, their_norm in _NORMS[side].items():
                names[f"{ours}.{norm}.weight"] = f"{theirs}.{their_norm}.weight"
            for linear, their_linear in _FFN[side].items():
                for kind in ("weight", "bias"):
                    names[f"{ours}.ffn.{linear}.{kind}"] = f"{theirs}.mlp.{their_linear[style]}.{kind}"
    encoder, decoder = PREFIX[style]["encoder"], PREFIX[style]["decoder"]
    for conv, bias in _CONVOLUTIONS.items():
        for kind in ("weight", "bias") if bias else ("weight",):
            names[f"encoder.{conv}.{kind}"] = f"{encoder}{conv}.{kind}"
    for kind in ("weight", "bias"):
        names[f"encoder.groupnorm.{kind}"] = f"{encoder}groupnorm.{kind}"
    names["encoder.norm.weight"] = f"{encoder}layer_norm.weight"
    names["decoder.norm.weight"] = f"{decoder}norm.weight"
    names["decoder.embedding.weight"] = f"{decoder}embed_tokens.weight"
    return names


def adapter_targets(layers: int) -> dict[str, str]:
    """The name of each adapter of an encoder of so many layers, and the name of the linear layer that it changes."""
    parts = [*(f"attention.{name}" for name in _ATTENTION), "ffn.up", "ffn.down"]
    return {f"adapters.{i}.{part}": f"encoder.layers.{i}.{part}" for i in range(layers) for part in parts}
