"""Which axis of which tensor belongs to which part of the network: what removing a part must cut.

torch-pruning 1.6.1 was tried: it traces the groups of one head and of one feed-forward channel rightly,
but on a network of two layers it had not traced conv1's (neighboring frames side by side) in a minute,
it misses the encoder's positions, and it knows neither layers nor alignment heads. One table does all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch import Tensor

from compress.networks.axes import Axis
from compress.networks.dims import Dims, LayerDims
from device_asr.errors import UsageError

ENCODER_STATE, DECODER_STATE = "encoder.state", "decoder.state"  # the two residual streams
CONVOLVED = "encoder.conv1"  # channels between the two convolutions
ADAPTERS = "adapters."  # before the number of an encoder layer
STREAMS = (ENCODER_STATE, DECODER_STATE, CONVOLVED)  # all of them are `Dims.state` wide


def axes(dims: Dims) -> dict[str, tuple[Axis | None, ...]]:
    """The axes of every tensor of a network; None: an axis that is never cut here.

    The name of an attention's or feed-forward's axis is the module's, as `decoder.layers.0.cross`.

    Raises:
        UsageError: a layer is a product of two already.
    """
    if dims.ranks:
        raise UsageError(f"Layer {dims.ranks[0][0]} is of low rank: wanted whole layers; prune before it.")
    encoder, decoder = Axis(ENCODER_STATE, dims.state), Axis(DECODER_STATE, dims.state)
    convolved = Axis(CONVOLVED, dims.state)
    table: dict[str, tuple[Axis | None, ...]] = {
        "encoder.conv1.weight": (convolved, None),
        "encoder.conv1.bias": (convolved,),
        "encoder.conv2.weight": (encoder, replace(convolved, blocks=3)),
        "encoder.conv2.bias": (encoder,),
        "encoder.positions": (None, encoder),
        "decoder.positions": (None, decoder),
        "decoder.embedding.weight": (None, decoder),
    }

    def norm(name: str, stream: Axis) -> None:
        table[f"{name}.weight"] = table[f"{name}.bias"] = (stream,)

    def attention(name: str, heads: int, stream: Axis, source: Axis) -> None:
        inner = Axis(name, heads, dims.head_dim)
        table[f"{name}.query.weight"], table[f"{name}.query.bias"] = (inner, stream), (inner,)
        table[f"{name}.key.weight"] = table[f"{name}.value.weight"] = (inner, source)
        table[f"{name}.value.bias"] = (inner,)
        table[f"{name}.out.weight"], table[f"{name}.out.bias"] = (stream, inner), (stream,)

    if dims.ctc:
        table["ctc.hidden.weight"] = (None, encoder)
    for side, stream, layers in (("encoder", encoder, dims.encoder), ("decoder", decoder, dims.decoder)):
        norm(f"{side}.norm", stream)
        for i, layer in enumerate(layers):
            at = f"{side}.layers.{i}"
            norm(f"{at}.attention_norm", stream)
            attention(f"{at}.attention", layer.heads, stream, stream)
            if side == "decoder":
                norm(f"{at}.cross_norm", stream)
                attention(f"{at}.cross", layer.cross_heads, stream, encoder)
            norm(f"{at}.ffn_norm", stream)
            channels = Axis(f"{at}.ffn", layer.ffn)
            table[f"{at}.ffn.up.weight"], table[f"{at}.ffn.up.bias"] = (channels, stream), (channels,)
            table[f"{at}.ffn.down.weight"], table[f"{at}.ffn.down.bias"] = (stream, channels), (stream,)
    if dims.adapters:
        table |= _adapters(table)
    return table


def _adapters(table: Mapping[str, tuple[Axis | None, ...]]) -> dict[str, tuple[Axis | None, ...]]:
    """Of each linear layer of the encoder's layers its change's: columns are those of `down`, rows those of `up`."""
    changes: dict[str, tuple[Axis | None, ...]] = {}
    for name, parts in table.items():
        if not name.startswith("encoder.layers."):
            continue
        name = f"{ADAPTERS}{name.removeprefix('encoder.layers.')}"
        if name.endswith(".bias") and "norm" not in name:
            changes[f"{name.removesuffix('bias')}up.bias"] = parts
        elif len(parts) == 2:
            linear = name.removesuffix("weight")
            changes[f"{linear}down.weight"], changes[f"{linear}up.weight"] = (None, parts[1]), (parts[0], None)
    return changes


def take(tensors: Mapping[str, Tensor], dims: Dims, kept: Mapping[str, Sequence[int]]) -> dict[str, Tensor]:
    """Copies of a network's tensors, all or some of them, with only the kept units of the named axes."""
    cut = dict(tensors)
    for name, parts in axes(dims).items():
        for at, axis in enumerate(parts):
            if axis is not None and axis.name in kept and name in cut:
                cut[name] = cut[name].index_select(at, axis.elements(kept[axis.name])).contiguous()
    return cut


def taken(dims: Dims, kept: Mapping[str, Sequence[int]]) -> Dims:
    """The dims of a network whose tensors went through `take`."""

    def layer(at: str, old: LayerDims) -> LayerDims:
        counts = {"heads": old.heads, "cross_heads": old.cross_heads, "ffn": old.ffn}
        for field, part in (("heads", "attention"), ("cross_heads", "cross"), ("ffn", "ffn")):
            if f"{at}.{part}" in kept:
                counts[field] = len(kept[f"{at}.{part}"])
        return LayerDims(**counts)

    encoder = tuple(layer(f"encoder.layers.{i}", old) for i, old in enumerate(dims.encoder))
    decoder = tuple(layer(f"decoder.layers.{i}", old) for i, old in enumerate(dims.decoder))
    state = len(kept[ENCODER_STATE]) if ENCODER_STATE in kept else dims.state
    return replace(dims, state=state, encoder=encoder, decoder=decoder)


def take_layers(tensors: Mapping[str, Tensor], side: str, kept: Sequence[int]) -> dict[str, Tensor]:
    """Tensors of the kept layers of "encoder" or "decoder", numbered anew, and all that is in no layer of it."""
    cut = {}
    places = {"encoder": ("encoder.layers.", ADAPTERS), "decoder": ("decoder.layers.",)}[side]
    for name, tensor in tensors.items():
        place = next((place for place in places if name.startswith(place)), None)
        if place is None:
            cut[name] = tensor
            continue
        number, _, rest = name.removeprefix(place).partition(".")
        if int(number) in kept:
            cut[f"{place}{list(kept).index(int(number))}.{rest}"] = tensor
    return cut
