"""Which axis of which tensor belongs to which part of the network: what removing a part must cut.

torch-pruning 1.6.1 was tried: it traces the groups of one head and of one feed-forward channel rightly,
but on a network of two layers it had not traced conv1's (neighboring frames side by side) in a minute,
it misses the encoder's positions, and it knows neither layers nor alignment heads. One table does all.
"""

from __future__ import annotations

from dataclasses import replace

from compress.networks.axes import DECODER_STATE, ENCODER_STATE, Axis, adapter_axes
from compress.networks.dims import Dims
from device_asr.errors import UsageError

CONVOLVED = "encoder.conv1"  # channels between the two convolutions
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
        table |= adapter_axes(table)
    return table
