"""Sizes of a network that is made, trained and exported in no time."""

from __future__ import annotations

from compress.networks.dims import LayerDims
from compress.networks.whisper.dims import WhisperDims

DIMS = WhisperDims(
    n_mels=8,
    state=32,
    head_dim=16,
    audio_ctx=1500,
    text_ctx=448,
    vocab=260,
    encoder=(LayerDims(2, 64),),
    decoder=(LayerDims(2, 64, 2),),
)
