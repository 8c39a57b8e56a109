"""The peers that `bench --peer` knows."""

from __future__ import annotations

from device_asr.bench.peers.faster_whisper import FASTER_WHISPER
from device_asr.bench.peers.moonshine import MOONSHINE

PEERS = {kind.name: kind for kind in (FASTER_WHISPER, MOONSHINE)}
