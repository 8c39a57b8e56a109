"""Bundles with damaged manifests and vocabularies; the checksums fit again in half of them."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.campaign.case import HERE, Case
from tests.campaign.chance import BRACKETS, Chance, document
from tests.campaign.edits import Edit
from tests.campaign.kinds.sound import SECONDS
from tests.support.paths import ASSETS, MODEL

BASE = "bundle"
VOCABULARY = "vocabulary.txt.gz"
MANIFEST = "manifest.json"
# numbers of the manifest that size something
NUMBERS = (
    ["speech", "positions"],
    ["speech", "cache"],
    ["speech", "tokens_per_call"],
    ["speech", "samples_per_position"],
    ["speech", "tokens_per_second"],
    ["speech", "retry_silence"],
    ["speech", "end"],
    ["speech", "no_speech"],
    ["speech", "prompt", 0],
    ["programs", "speech", "methods", "stream", "look_ahead"],
    ["programs", "speech", "methods", "stream", "delay"],
    ["sample_rate"],
    ["parameters"],
    ["vocabulary", "suppress", 0],
)


def prepare(bases: Path) -> None:
    if (bases / BASE).exists():  # another kind's too
        return
    import soundfile

    shutil.copytree(MODEL, bases / BASE)
    pcm, rate = soundfile.read(ASSETS / "timer.flac", dtype="float32")
    soundfile.write(bases / BASE / "timer.wav", pcm[: int(SECONDS * rate)], rate)


def draw(chance: Chance, bases: Path) -> Case:
    manifest = document(bases / BASE / MANIFEST)
    roll, edits = chance.random(), list[Edit]()
    if roll < 0.35:
        edits = [chance.json_edit(MANIFEST, manifest) for _ in range(chance.choice((1, 1, 2)))]
    elif roll < 0.55:
        edits = [[MANIFEST, "json", chance.choice(NUMBERS), chance.value()]]
    elif roll < 0.65:
        edits = chance.byte_edits(MANIFEST, (bases / BASE / MANIFEST).stat().st_size)
    elif roll < 0.7:
        edits = [chance.no_file(chance.choice((MANIFEST, VOCABULARY, "vad.pte")))]
    else:
        edits = [vocabulary(chance, bases)]
        if chance.random() < 0.8:
            edits.append([MANIFEST, "sign"])
    verb = chance.choice((["models", "show"], ["models", "verify"], ["models", "add"], ["transcribe"], ["transcribe"]))
    arguments = ["transcribe", f"{HERE}/timer.wav", "--model", HERE] if verb == ["transcribe"] else [*verb, HERE]
    return Case("bundle", "device-asr", tuple(arguments), BASE, tuple(edits))


def vocabulary(chance: Chance, bases: Path) -> Edit:
    """A damage of the vocabulary: bytes, a bomb, tokens of control characters, too few or too many."""
    roll = chance.random()
    if roll < 0.25:
        return chance.byte_edits(VOCABULARY, (bases / BASE / VOCABULARY).stat().st_size)[0]
    if roll < 0.4:
        line = chance.choice(("QUFB\n", "\n", "A", "!\n"))
        return [VOCABULARY, "gzip", {"repeat": line, "times": chance.choice((1, 1000, 10**6, 2 * 10**7))}]
    if roll < 0.45:
        return [VOCABULARY, "bomb", {"repeat": chance.choice(("QUFB\n", "A", "\n")), "times": 10**6}, 500]
    if roll < 0.5:
        return [VOCABULARY, "gzip", {"repeat": "QUFB", "times": chance.choice((BRACKETS, 10**7))}]
    text = chance.choice((" \u001b[2J", "\u0007", "\n", " \u009b31m", "", " x" * 5000, "\u202e"))
    return [VOCABULARY, "token", chance.randrange(36_000), text]
