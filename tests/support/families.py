"""Sizes and vocabularies of tiny networks of both families, whose text tokens are the 256 bytes."""

from __future__ import annotations

from compress.networks.dims import Dims, LayerDims
from compress.networks.moonshine.dims import MoonshineDims
from compress.networks.moonshine.tokens import moonshine_vocabulary
from compress.networks.whisper.dims import WhisperDims
from device_asr.bundle.vocabulary import Vocabulary

BYTES = tuple(bytes([b]) for b in range(256))


def of_families(layers: int) -> dict[str, tuple[Dims, Vocabulary]]:
    """Each family's dims with so many layers a side, and its vocabulary."""
    encoder, decoder = (LayerDims(4, 128),) * layers, (LayerDims(4, 128, 4),) * layers
    whisper = WhisperDims(
        n_mels=8,
        state=64,
        head_dim=16,
        audio_ctx=1500,
        text_ctx=448,
        vocab=260,
        encoder=encoder,
        decoder=decoder,
    )
    moonshine = MoonshineDims(
        conv1=16,
        conv2=32,
        rotary=8,
        state=64,
        head_dim=16,
        audio_ctx=1250,
        text_ctx=194,
        vocab=258,
        encoder=encoder,
        decoder=decoder,
    )
    return {
        "whisper": (whisper, Vocabulary(BYTES, (257, 259), 256, 258)),
        "moonshine": (moonshine, moonshine_vocabulary(BYTES, {"end": 256, "start": 257})),
    }
