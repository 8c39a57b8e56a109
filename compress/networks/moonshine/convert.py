"""Weights of other programs under the names of this network; dims are read off the tensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from compress.networks.dims import LayerDims, check_layers
from compress.networks.family import Converted, Foreign
from compress.networks.moonshine import tokens
from compress.networks.moonshine.dims import MoonshineDims
from compress.networks.moonshine.frontend import FIRST_WIDTH, SAMPLES_PER_POSITION
from compress.networks.moonshine.names import HUGGING_FACE, ONNXRUNTIME, PREFIX, their_names
from compress.networks.moonshine.rotary import THETA, halves_first
from compress.networks.weights import CheckpointError, read_tokenizer
from device_asr.audio.format import SAMPLE_RATE
from device_asr.bundle.vocabulary import Vocabulary

AUDIO_CTX = 30 * SAMPLE_RATE // SAMPLES_PER_POSITION  # of 30 s; more is not asked of it
WIDTHS = {"conv1": FIRST_WIDTH, "conv2": 7, "conv3": 3}
BASE_HEADS, BASE_ROTARY, BASE_TEXT_CTX = 8, 32, 194  # of Moonshine base, whose file has no settings
# (layer, head) of Moonshine base whose cross-attention follows the words: on 232 clips with known times the pair with
# the smallest errors of word times. Heads that follow the order as well, such as 4.6, run 0.2 to 0.4 s ahead of it.
BASE_ALIGNMENT_HEADS = ((5, 4), (5, 5))
# settings of Hugging Face's that this network has no choice of; a file without one means this value
SETTLED = {"rope_theta": THETA, "attention_bias": False, "encoder_hidden_act": "gelu", "decoder_hidden_act": "silu"}
BASE_SIZES = (416, 8, 8)  # state, layers of encoder and decoder


def convert(foreign: Foreign) -> Converted:
    """A checkpoint of ONNX Runtime or Hugging Face as this network's.

    Raises:
        CheckpointError: a tensor, a setting or the tokenizer is missing or does not fit.
    """
    if foreign.format == "onnxruntime":
        return _onnxruntime(foreign)
    if foreign.format == "hugging_face":
        return _hugging_face(foreign)
    raise CheckpointError(
        f"{foreign.source}: wanted Moonshine from ONNX Runtime or Hugging Face, found {foreign.format}."
    )


def _onnxruntime(foreign: Foreign) -> Converted:
    layers = {side: _layers(foreign.tensors, PREFIX[ONNXRUNTIME][side]) for side in ("encoder", "decoder")}
    weights = _renamed(foreign.tensors, their_names(layers, ONNXRUNTIME), foreign.source)
    pieces = dict(enumerate(foreign.config["pieces"]))
    special = {"start": foreign.config["start"], "end": foreign.config["end"]}
    vocabulary, rows = tokens.ordered({i: p for i, p in pieces.items() if p and i > max(special.values())}, special)
    sizes = (weights["encoder.norm.weight"].shape[0], layers["encoder"], layers["decoder"])
    heads = {"encoder": BASE_HEADS, "decoder": BASE_HEADS}
    alignment = BASE_ALIGNMENT_HEADS if sizes == BASE_SIZES else ()
    return _assembled(weights, heads, BASE_ROTARY, BASE_TEXT_CTX, (vocabulary, rows), alignment, foreign.source)


def _hugging_face(foreign: Foreign) -> Converted:
    rope, where = foreign.config.get("rope_parameters"), foreign.source
    config = {**foreign.config, **(rope if isinstance(rope, Mapping) else {})}
    for name, value in SETTLED.items():
        if config.get(name, value) != value:
            raise CheckpointError(f"{where}/config.json: wanted {name} of {value}, found {config[name]!r}.")
    try:
        layers = {side: int(config[f"{side}_num_hidden_layers"]) for side in ("encoder", "decoder")}
        heads = {side: int(config[f"{side}_num_attention_heads"]) for side in ("encoder", "decoder")}
        head_dim = int(config["hidden_size"]) // heads["encoder"]
        rotary = int(head_dim * float(config["partial_rotary_factor"]))
        text_ctx = int(config["max_position_embeddings"])
        special = {"start": int(config["decoder_start_token_id"]), "end": int(config["eos_token_id"])}
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise CheckpointError(f"{where}/config.json: wanted settings of a Moonshine model, found {error!r}.") from None
    for count in layers.values():
        check_layers(count)
    tensors = {name.removeprefix("model."): tensor for name, tensor in foreign.tensors.items()}
    weights = _renamed(tensors, their_names(layers, HUGGING_FACE), where)
    ordered = tokens.ordered(_pieces(foreign.tokenizer), special)
    alignment = config.get("generation", {}).get("alignment_heads") or ()
    return _assembled(weights, heads, rotary, text_ctx, ordered, alignment, where)


def _pieces(folder: Path) -> dict[int, bytes]:
    """The text pieces of a tokenizer.json by id."""
    ids, added = read_tokenizer(folder)
    special = {entry["id"] for entry in added if entry.get("special", True)}
    return {i: piece.encode() for piece, i in ids.items() if i not in special}


def _layers(tensors: Mapping[str, Tensor], prefix: str) -> int:
    """The number of layers under a prefix."""
    return len({name.removeprefix(prefix).split(".")[1] for name in tensors if name.startswith(f"{prefix}layers.")})


def _renamed(found: Mapping[str, Tensor], names: Mapping[str, str], where: Path) -> dict[str, Tensor]:
    """Tensors under our names; raises CheckpointError naming the first that is missing or does not fit."""
    weights = {}
    for ours, theirs in names.items():
        if theirs not in found:
            raise CheckpointError(
                f"{where}: tensor {theirs}: wanted it for {ours}, found none; "
                "the checkpoint is incomplete or not a Moonshine model."
            )
        tensor = found[theirs].to(torch.float32)
        part = ours.split(".")[1]
        wanted = 3 if ours == f"encoder.{part}.weight" and part in WIDTHS else 2 if _is_matrix(ours) else 1
        if tensor.dim() != wanted or (wanted == 3 and tensor.shape[2] != WIDTHS[part]):
            raise CheckpointError(
                f"{where}: tensor {theirs}: wanted {wanted} axes"
                f"{f', the last of {WIDTHS[part]}' if wanted == 3 else ''}, found the shape {tuple(tensor.shape)}."
            )
        if wanted == 3:  # (out, in, width) to (out, width * in), columns in the order (frame, channel)
            tensor = tensor.permute(0, 2, 1).reshape(tensor.shape[0], -1)
            tensor = F.pad(tensor, (0, 1)) if part == "conv1" else tensor
        weights[ours] = tensor.contiguous()
    return weights


def _is_matrix(name: str) -> bool:
    return name.endswith(".weight") and "norm" not in name


def _assembled(
    weights: dict[str, Tensor],
    heads: Mapping[str, int],
    rotary: int,
    text_ctx: int,
    ordered: tuple[Vocabulary, list[int]],
    alignment_heads: Any,
    where: Path,
) -> Converted:
    """Reads the dims off the tensors, brings rotary rows and the tokens into this network's order."""
    vocabulary, rows = ordered
    table = "decoder.embedding.weight"
    if not 0 <= min(rows) <= max(rows) < weights[table].shape[0]:
        raise CheckpointError(
            f"{where}: the tokenizer has ids from {min(rows)} to {max(rows)}, the embedding "
            f"{weights[table].shape[0]} rows; wanted a tokenizer that fits."
        )
    weights[table] = weights[table][torch.tensor(rows)].contiguous()
    state = weights["encoder.norm.weight"].shape[0]
    head_dim = state // heads["encoder"]
    if head_dim * heads["encoder"] != state or rotary % 2 or not 0 < rotary <= head_dim:
        raise CheckpointError(
            f"{where}: wanted heads that divide a state of {state} and an even number of turned dimensions of each, "
            f"found {heads['encoder']} heads and {rotary} dimensions."
        )
    for name in weights:
        for linear in ("attention.query.weight", "attention.key.weight"):
            if name.endswith(linear):
                count = heads[name.split(".")[0]]
                if weights[name].shape[0] != count * head_dim:
                    raise CheckpointError(
                        f"{where}: {name}: wanted {count * head_dim} rows, found {weights[name].shape[0]}."
                    )
                weights[name] = weights[name][halves_first(count, head_dim, rotary)].contiguous()

    def layers(side: str) -> tuple[LayerDims, ...]:
        count = _layers(weights, f"{side}.")
        cross = heads[side] if side == "decoder" else 0
        widths = (weights[f"{side}.layers.{i}.ffn.down.weight"].shape[1] for i in range(count))
        return tuple(LayerDims(heads[side], ffn, cross) for ffn in widths)

    dims = MoonshineDims(
        conv1=weights["encoder.conv1.weight"].shape[0],
        conv2=weights["encoder.conv2.weight"].shape[0],
        rotary=rotary,
        state=state,
        head_dim=head_dim,
        audio_ctx=AUDIO_CTX,
        text_ctx=text_ctx,
        vocab=len(rows),
        encoder=layers("encoder"),
        decoder=layers("decoder"),
    )
    return Converted(dims, weights, vocabulary, tuple((int(a), int(b)) for a, b in alignment_heads))
