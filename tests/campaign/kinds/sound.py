"""Sound files with damaged headers, odd channels and rates, and raw samples on standard input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from tests.campaign.case import HERE, Case
from tests.campaign.chance import Chance
from tests.campaign.edits import Edit
from tests.support.paths import ASSETS

BASE = "sound"
FORMATS = {
    "a.wav": ("WAV", "PCM_16"), "float.wav": ("WAV", "FLOAT"), "a.flac": ("FLAC", "PCM_16"),
    "vorbis.ogg": ("OGG", "VORBIS"), "opus.ogg": ("OGG", "OPUS"), "a.mp3": ("MP3", "MPEG_LAYER_III"),
    "a.aiff": ("AIFF", "PCM_16"), "a.au": ("AU", "PCM_16"), "a.caf": ("CAF", "PCM_16"), "a.w64": ("W64", "PCM_16"),
    "a.sds": ("SDS", "PCM_16"), "a.rf64": ("RF64", "PCM_16"), "adpcm.wav": ("WAV", "IMA_ADPCM"),
    "a.avr": ("AVR", "PCM_16"), "a.voc": ("VOC", "PCM_16"), "a.nist": ("NIST", "PCM_16"), "a.htk": ("HTK", "PCM_16"),
}  # fmt: skip
SECONDS = 1.6
# of a canonical WAV header: the place of channels, rate, bytes a second, block, bits, and the two sizes
WAV_FIELDS = {22: 2, 24: 4, 28: 4, 32: 2, 34: 2, 4: 4, 40: 4, 20: 2, 16: 4}
SIZES = (0, 1, 2, 3, 64, 1024, 8000, 44_100, 65_535, 768_000, 10**6, 2**31 - 1, 2**31, 2**32 - 1)


def prepare(bases: Path) -> None:
    if (bases / BASE).exists():  # another kind's too
        return
    folder = bases / BASE
    folder.mkdir()
    pcm, rate = soundfile.read(ASSETS / "timer.flac", dtype="float32")
    pcm = pcm[: int(SECONDS * rate)]
    for name, (kind, subtype) in FORMATS.items():
        soundfile.write(folder / name, pcm, rate, subtype=subtype, format=kind)
    (folder / "raw").write_bytes((pcm * 32767).astype("<i2").tobytes())
    stereo = np.stack([pcm, -pcm], axis=1)
    soundfile.write(folder / "stereo.wav", stereo, 44_100, subtype="PCM_24")
    (folder / "wide.wav").write_bytes(_wav(1024, 768_000))
    (folder / "many.wav").write_bytes(_wav(65_535, 8000))


def _wav(channels: int, rate: int) -> bytes:
    """A WAV of that many channels and little audio, whose data promise 1 GB."""
    header = bytearray(b"RIFF\xff\xff\xff\x3fWAVEfmt \x10\x00\x00\x00\x01\x00")
    block = 2 * channels
    header += channels.to_bytes(2, "little") + rate.to_bytes(4, "little")
    header += (block * rate % 2**32).to_bytes(4, "little") + (block % 2**16).to_bytes(2, "little") + b"\x10\x00"
    return bytes(header) + b"data\xff\xff\xff\x3f" + bytes(min(200, 2**20 // block + 1) * block)


def draw(chance: Chance, bases: Path) -> Case:
    folder = bases / BASE
    if chance.random() < 0.05:
        arguments = ["transcribe", "-", *chance.choice(([], ["--rate", "8000"], ["--channels", "64"]))]
        arguments += chance.choice(([], ["--encoding", "f32le"], ["--rate", chance.word()]))
        return Case("sound", "device-asr", tuple(arguments), BASE, standard=chance.choice(("raw", "a.wav", "nothing")))
    name = chance.choice([path.name for path in sorted(folder.iterdir())])
    size = (folder / name).stat().st_size
    edits: list[Edit] = []
    roll = chance.random()
    if name.endswith(".wav") and roll < 0.4:
        for place in chance.sample(sorted(WAV_FIELDS), chance.choice((1, 1, 2, 3))):
            wide = WAV_FIELDS[place]
            edits.append([name, "bytes", place, (chance.choice(SIZES) % 256**wide).to_bytes(wide, "little").hex()])
    elif roll < 0.45:
        edits = [chance.no_file(name)]
    elif roll < 0.5:
        other = name.split(".")[0] + chance.choice((".wav", ".flac", ".ogg", ".mp3", ".txt", "", ".raw", ".WAV"))
        edits = [[other, "hex", (folder / name).read_bytes()[:4096].hex()]]
        name = other
    else:
        edits = chance.byte_edits(name, size)
    arguments = ["transcribe", f"{HERE}/{name}", *chance.choice(([], [], ["--format", "jsonl"], ["--format", "srt"]))]
    return Case("sound", "device-asr", tuple(arguments), BASE, tuple(edits))
