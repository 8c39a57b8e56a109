"""From a teacher to a bundle: stages whose inputs have not changed are not run again."""

from __future__ import annotations

import hashlib
import json
import shutil
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from compress import checkpoints, formats
from compress.card import write_card
from compress.checkpoints import Checkpoint
from compress.export import CACHE, TOKENS_PER_CALL, SpeechProgram, export_speech
from compress.frontend import SAMPLE_RATE, SAMPLES_PER_POSITION
from compress.quantize import QuantisationPlan
from compress.silero import describe as describe_vad
from compress.silero import export_vad, load_silero, weights_path
from compress.techniques import Material, Progress, Technique, settings_of
from device_asr.bundle import FORMAT
from device_asr.errors import UsageError
from device_asr.tokenizer import write_pieces

LICENCES = [
    {"part": "speech model", "licence": "MIT", "from": "OpenAI Whisper tiny.en"},
    {"part": "voice activity detector", "licence": "MIT", "from": "Silero VAD"},
]


@dataclass(frozen=True)
class Recipe:
    """What to build; read from TOML, see recipes/en-tiny.toml.

    corpus: manifest -> clips taken of it, or "all". stages: the techniques in their order, each a table
    with its name as `do` and its settings. quantise: see `QuantisationPlan`.
    """

    name: str
    teacher: str
    language: str = "en"
    description: str = ""
    corpus: Mapping[str, int | str] = field(default_factory=dict)
    stages: Sequence[Mapping[str, Any]] = ()
    quantise: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for table in self.stages:
            settings_of(table)
        QuantisationPlan.from_table(self.quantise)
        for name, count in self.corpus.items():
            if count != "all" and not (isinstance(count, int) and count > 0):
                raise UsageError(f"corpus.{name}: wanted a number of clips or \"all\", found {count!r}.")


def read_recipe(path: Path) -> Recipe:
    """A recipe from a TOML file.

    Raises:
        UsageError: unreadable, not TOML, unknown or missing keys, a stage that is not known.
    """
    try:
        return Recipe(**tomllib.loads(path.read_text()))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"Recipe {path} cannot be read: {error}.") from None
    except TypeError as error:
        raise UsageError(f"Recipe {path}: wanted the keys of compress/recipes/en-tiny.toml ({error}).") from None


class Stages:
    """Results on disk by a key made of everything they depend on."""

    def __init__(self, work: Path, progress: Progress) -> None:
        self.work, self.progress = work, progress

    def folder(self, stage: str, *inputs: Any) -> Path:
        """Where the result of `stage` for these inputs is kept."""
        digest = hashlib.sha256(json.dumps([stage, *inputs], sort_keys=True, default=str).encode()).hexdigest()[:12]
        return self.work / f"{stage}-{digest}"

    def checkpoint(self, stage: str, inputs: tuple[Any, ...],
                   make: Callable[[Path], Checkpoint]) -> tuple[Checkpoint, str]:
        """The stage's checkpoint, made where it is not there yet, and the key for stages after it."""
        folder = self.folder(stage, *inputs)
        if (folder / "checkpoint.json").is_file():
            self.progress(stage, 1.0, "unchanged")
            return formats.load_ours(folder), folder.name
        self.progress(stage, None, "")
        result = make(folder)
        formats.save(result, folder)
        self.progress(stage, 1.0, f"{result.parameters / 1e6:.1f} M parameters")
        return result, folder.name


def build(recipe: Recipe, out: Path, work: Path, corpus: Path | None, noise: Path | None, progress: Progress) -> Path:
    """Runs every stage and writes the bundle to `out`, replacing it whole.

    Args:
        work: where stages keep their results; a build that was cut goes on from there.
        corpus: folder with <name>.jsonl manifests, needed where the recipe distils.
        noise: folder of background sounds for augmentation; None: none.

    Raises:
        UsageError, CheckpointError, CorpusError, DelegationError, TieError: one sentence each.
    """
    stages = Stages(work, progress)
    material = Material(checkpoints.load(recipe.teacher), recipe.corpus, corpus, noise, work / "labels", progress)
    checkpoint, key = material.teacher, f"teacher-{recipe.teacher}"
    for table in recipe.stages:
        technique, settings = settings_of(table)
        inputs = (key, asdict(settings), dict(recipe.corpus) if technique.learns else None)

        def run(folder: Path, technique: Technique = technique, settings: Any = settings,
                before: Checkpoint = checkpoint) -> Checkpoint:
            return technique.run(before, settings, material, folder)

        checkpoint, key = stages.checkpoint(table["do"], inputs, run)
    speech = _export(stages, checkpoint, (key, dict(recipe.quantise)), recipe.quantise)
    vad = _export_vad(stages)
    progress("bundle", None, "")
    write_bundle(recipe, checkpoint, speech, vad, out)
    progress("bundle", 1.0, str(out))
    return out


def _export(stages: Stages, checkpoint: Checkpoint, inputs: tuple[Any, ...],
            quantise: Mapping[str, Any]) -> SpeechProgram:
    folder = stages.folder("export", *inputs)
    facts = folder / "export.json"
    if facts.is_file():
        stages.progress("export", 1.0, "unchanged")
        return SpeechProgram((folder / "model.pte").read_bytes(), **json.loads(facts.read_text()))
    stages.progress("export", None, "")
    program = export_speech(checkpoint, QuantisationPlan.from_table(quantise), _sample())
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.pte").write_bytes(program.data)
    facts.write_text(json.dumps({"methods": program.methods, "constants": program.constants, "parity": program.parity}))
    stages.progress("export", 1.0, f"{len(program.data) / 1e6:.1f} MB")
    return program


def _sample() -> np.ndarray | None:
    """A few seconds of the repository's own speech for the parity report."""
    import soundfile

    path = Path(__file__).resolve().parent.parent / "assets" / "letter.flac"
    return soundfile.read(path, dtype="float32", stop=10 * SAMPLE_RATE)[0] if path.is_file() else None


def _export_vad(stages: Stages) -> bytes:
    path = stages.folder("vad", hashlib.sha256(weights_path().read_bytes()).hexdigest()) / "vad.pte"
    if path.is_file():
        stages.progress("vad", 1.0, "unchanged")
        return path.read_bytes()
    stages.progress("vad", None, "")
    data = export_vad(load_silero())
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".partial")
    temporary.write_bytes(data)
    temporary.replace(path)
    stages.progress("vad", 1.0, f"{len(data) / 1e6:.1f} MB")
    return data


def write_bundle(recipe: Recipe, checkpoint: Checkpoint, speech: SpeechProgram, vad: bytes, out: Path) -> None:
    """Writes the bundle beside `out` and puts it in its place when it is whole."""
    temporary = out.with_name(out.name + ".partial")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    (temporary / "model.pte").write_bytes(speech.data)
    (temporary / "vad.pte").write_bytes(vad)
    write_pieces(temporary / "vocabulary.txt", checkpoint.vocabulary.pieces)
    files = {}
    for path in sorted(temporary.iterdir()):
        data = path.read_bytes()
        files[path.name] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    manifest = _manifest(recipe, checkpoint, speech, files)
    (temporary / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
    previous = out / "CARD.md"
    write_card(temporary / "CARD.md", manifest, previous.read_text() if previous.is_file() else "")
    shutil.rmtree(out, ignore_errors=True)
    temporary.replace(out)


def _manifest(recipe: Recipe, checkpoint: Checkpoint, speech: SpeechProgram,
              files: Mapping[str, Any]) -> dict[str, Any]:
    dims, tokens = checkpoint.dims, checkpoint.vocabulary
    return {
        "format": FORMAT, "name": recipe.name, "language": recipe.language, "description": recipe.description,
        "sample_rate": SAMPLE_RATE, "parameters": checkpoint.parameters, "licences": LICENCES,
        "provenance": list(checkpoint.provenance), "files": dict(files),
        "programs": {
            "speech": {"file": "model.pte", "methods": speech.methods, "constants": speech.constants},
            "vad": {"file": "vad.pte", "methods": describe_vad()},
        },
        "speech": {
            "samples_per_position": SAMPLES_PER_POSITION, "positions": dims.audio_ctx, "cache": CACHE,
            "tokens_per_call": TOKENS_PER_CALL, "weights_bits": recipe.quantise.get("bits", 8),
            "layers": [{"heads": x.heads, "cross_heads": x.cross_heads, "head_dim": dims.head_dim}
                       for x in dims.decoder],
            "dims": dims.to_json(),
        },
        "vocabulary": {"file": "vocabulary.txt", "special": dict(tokens.special),
                       "suppress": list(tokens.suppress), "suppress_first": list(tokens.suppress_first)},
        "parity": speech.parity,
    }
