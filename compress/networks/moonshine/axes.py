"""Which axis of which tensor belongs to which part of the network: what removing a part must cut."""

from __future__ import annotations

from dataclasses import replace

from compress.networks.axes import DECODER_STATE, ENCODER_STATE, Axis, adapter_axes
from compress.networks.dims import Dims
from compress.networks.moonshine.dims import moonshine_dims
from device_asr.errors import UsageError

STREAMS = (ENCODER_STATE, DECODER_STATE)  # both are `Dims.state` wide


def axes(dims: Dims) -> dict[str, tuple[Axis | None, ...]]:
    """The axes of every tensor of a network; None: an axis that is never cut here, such as the convolutions' channels.

    The name of an attention's or feed-forward's axis is the module's, as `decoder.layers.0.cross`. A decoder's
    feed-forward channel is a value and its gate, which are cut together.

    Raises:
        UsageError: a layer is a product of two already.
    """
    if dims.ranks:
        raise UsageError(f"Layer {dims.ranks[0][0]} is of low rank: wanted whole layers; prune before it.")
    encoder, decoder = Axis(ENCODER_STATE, dims.state), Axis(DECODER_STATE, dims.state)
    table: dict[str, tuple[Axis | None, ...]] = {
        "encoder.conv1.weight": (None, None),
        "encoder.groupnorm.weight": (None,),
        "encoder.groupnorm.bias": (None,),
        "encoder.conv2.weight": (None, None),
        "encoder.conv2.bias": (None,),
        "encoder.conv3.weight": (encoder, None),
        "encoder.conv3.bias": (encoder,),
        "encoder.norm.weight": (encoder,),
        "decoder.norm.weight": (decoder,),
        "decoder.embedding.weight": (None, decoder),
    }
    if dims.ctc:
        heard = moonshine_dims(dims).ctc_layers
        table["ctc.hidden.weight"] = (None, replace(encoder, blocks=1 + len(heard)))
        table |= {f"ctc.norms.{i}.weight": (encoder,) for i in range(len(heard))}
    for side, stream, layers in (("encoder", encoder, dims.encoder), ("decoder", decoder, dims.decoder)):
        for i, layer in enumerate(layers):
            at = f"{side}.layers.{i}"
            attentions = [("attention", layer.heads, stream)]
            attentions += [("cross", layer.cross_heads, encoder)] if side == "decoder" else []
            for part, heads, source in attentions:
                inner = Axis(f"{at}.{part}", heads, dims.head_dim)
                table[f"{at}.{part}_norm.weight"] = (stream,)
                table[f"{at}.{part}.query.weight"] = (inner, stream)
                table[f"{at}.{part}.key.weight"] = table[f"{at}.{part}.value.weight"] = (inner, source)
                table[f"{at}.{part}.out.weight"] = (stream, inner)
            channels = Axis(f"{at}.ffn", layer.ffn)
            both = replace(channels, blocks=2) if side == "decoder" else channels
            table[f"{at}.ffn_norm.weight"] = (stream,)
            table[f"{at}.ffn.up.weight"], table[f"{at}.ffn.up.bias"] = (both, stream), (both,)
            table[f"{at}.ffn.down.weight"], table[f"{at}.ffn.down.bias"] = (stream, channels), (stream,)
    if dims.adapters:
        table |= adapter_axes(table)
    return table
