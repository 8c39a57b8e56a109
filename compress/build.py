"""From a teacher to a bundle: stages whose inputs have not changed are not run again."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from compress import base, checkpoints, labelled
from compress.card import write_card
from compress.checkpoints import Checkpoint
from compress.chunks import Chunking
from compress.distill_recipe import LATER
from compress.export import CACHE, TOKENS_PER_CALL, SpeechProgram, export_speech
from compress.frontend import SAMPLE_RATE, SAMPLES_PER_POSITION
from compress.material import Material, Progress
from compress.quantize import QuantisationPlan, report
from compress.settings import check_types
from compress.silero import describe as describe_vad
from compress.silero import export_vad, load_silero, weights_path
from compress.stages import FLOAT_BYTES, REPORT, Stages, origin, plain, write_json
from compress.techniques import settings_of
from device_asr.bundle import FORMAT
from device_asr.errors import OutputError, UsageError
from device_asr.tokenizer import write_pieces

VOCABULARY = "vocabulary.txt.gz"  # 0.23 MB of 50 256 pieces, 0.55 unpacked
PLANS, OWN_PLAN = ("plan", "qat"), "quantise"  # settings of stages that take a plan, and the recipe's own
STATIC_CLIPS = 32  # that the ranges of static activations are measured on

LICENCES = [
    {"part": "speech model", "licence": "MIT", "from": "OpenAI Whisper tiny.en"},
    {"part": "voice activity detector", "licence": "MIT", "from": "Silero VAD"},
]


@dataclass(frozen=True)
class Recipe:
    """What to build; read from TOML, see recipes/en-tiny.toml.

    corpus: manifest -> clips taken of it, or "all". stages: the techniques in their order, each a table
    with its name as `do` and its settings; in one that takes a plan, the text "quantise" stands for the recipe's own.
    quantise: see `QuantisationPlan`. base: whether the network in
    half precision is written beside the bundle, see `base.py`. start: the checkpoint that the stages begin
    with, such as a bundle's base; none: the teacher. stream: how a network with a CTC head hears in chunks,
    the fields of `Chunking`.
    """

    name: str
    teacher: str
    language: str = "en"
    description: str = ""
    corpus: Mapping[str, int | str] = field(default_factory=dict)
    stages: Sequence[Mapping[str, Any]] = ()
    quantise: Mapping[str, Any] = field(default_factory=dict)
    base: bool = field(default=False, metadata=LATER)
    start: str | None = field(default=None, metadata=LATER)
    stream: Mapping[str, int] = field(default_factory=dict, metadata=LATER)

    def __post_init__(self) -> None:
        check_types(Recipe, vars(self), "Recipe")
        QuantisationPlan.from_table(self.quantise)
        object.__setattr__(self, "stages", [self._planned(table) for table in self.stages])
        for table in self.stages:
            settings_of(table)
        check_types(Chunking, self.stream, "Recipe, stream")
        if unknown := sorted(set(self.stream) - {f.name for f in fields(Chunking)}):
            raise UsageError(f"Recipe, stream: wanted size, left and ahead, found {', '.join(unknown)}.")
        Chunking(**self.stream)
        for name, count in self.corpus.items():
            if count != "all" and (not isinstance(count, int) or isinstance(count, bool) or count < 1):
                raise UsageError(f'corpus.{name}: wanted a number of clips or "all", found {count!r}.')

    def _planned(self, table: Mapping[str, Any]) -> Mapping[str, Any]:
        """A stage with the recipe's own plan where it names that."""
        return {**table, **{key: dict(self.quantise) for key in PLANS if table.get(key) == OWN_PLAN}}

    @property
    def chunking(self) -> Chunking:
        """Of the method `stream`."""
        return Chunking(**self.stream)


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


def build(recipe: Recipe, out: Path, work: Path, corpus: Path | None, noise: Path | None, progress: Progress) -> Path:
    """Runs every stage and writes the bundle to `out`, replacing it whole, its base beside it.

    The same recipe, teacher and clips make the same bytes in any folder, on one machine with the same number
    of threads. Another processor, number of threads or version of torch adds in another order: weights that
    were trained then differ, and the manifest's checksums with them. A training that was cut ends in the
    weights of one that was not.

    Args:
        work: where stages keep their results; a build that was cut goes on from there.
        corpus: folder with <name>.jsonl manifests, needed where the recipe learns from clips.
        noise: folder of background sounds for augmentation; None: none.

    Raises:
        UsageError, CheckpointError, CorpusError, TrainingError, BudgetError, DelegationError, TieError,
            OutputError: one sentence each.
    """
    check_out(out)
    plan = QuantisationPlan.from_table(recipe.quantise)
    stages = Stages(work, progress)
    teacher = checkpoints.load(recipe.teacher)
    material = Material(teacher, recipe.corpus, corpus, noise, work / "labels", progress)
    stages.note("teacher", teacher.parameters, FLOAT_BYTES * teacher.parameters)
    first, key = beginning(recipe, teacher)
    checkpoint, key = stages.walk(recipe.stages, recipe.corpus, material, first, key)
    speech = _export(stages, checkpoint, recipe, plan, material, key)
    vad = _export_vad(stages)
    progress("bundle", None, "")
    write_bundle(recipe, checkpoint, speech, vad, out)
    progress("bundle", 1.0, str(out))
    return out


def beginning(recipe: Recipe, teacher: Checkpoint) -> tuple[Checkpoint, str]:
    """What the stages of a recipe begin with, and its key.

    Raises:
        CheckpointError: `start` is missing or broken.
    """
    if recipe.start is None:
        return teacher, origin(recipe.teacher)
    return checkpoints.load(recipe.start), origin(recipe.start)


def _export(
    stages: Stages, checkpoint: Checkpoint, recipe: Recipe, plan: QuantisationPlan, material: Material, key: str
) -> SpeechProgram:
    static = plan.activations == "static"
    # the corpus is a part of the key only where ranges are measured on it: programs made before are found again
    inputs = (
        key,
        dict(recipe.quantise),
        *((dict(recipe.corpus),) if static else ()),
        *((asdict(recipe.chunking),) if checkpoint.dims.ctc else ()),
    )
    folder = stages.folder("export", *inputs)
    facts = folder / "export.json"
    if facts.is_file():
        stages.progress("export", 1.0, "unchanged")
        program = SpeechProgram((folder / "model.pte").read_bytes(), **json.loads(facts.read_text()))
    else:
        stages.progress("export", None, "")
        began = time.monotonic()
        found = material.labelled(checkpoint.vocabulary, STATIC_CLIPS) if static else []
        program = export_speech(
            checkpoint, plan, _sample(), labelled.spoken(found, checkpoint.vocabulary), recipe.chunking
        )
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "model.pte").write_bytes(program.data)
        write_json(
            folder / REPORT,
            {"seconds": round(time.monotonic() - began, 1), "report": plain(report(checkpoint.network(), plan))},
        )
        write_json(facts, {"methods": program.methods, "constants": program.constants, "parity": program.parity})
        stages.progress("export", 1.0, f"{len(program.data) / 1e6:.1f} MB")
    stages.note("export", checkpoint.parameters, len(program.data), folder)
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


def check_out(out: Path) -> None:
    """Raises UsageError where a bundle would take the place of something that is none."""
    if out.exists() and not (out / "manifest.json").is_file() and not (out.is_dir() and not any(out.iterdir())):
        raise UsageError(
            f"--out {out}: wanted a new folder or that of a bundle, which is replaced, found other files; "
            "name a folder of its own."
        )


def write_bundle(recipe: Recipe, checkpoint: Checkpoint, speech: SpeechProgram, vad: bytes, out: Path) -> None:
    """Writes the bundle beside `out` and puts it in its place when it is whole.

    Raises:
        OutputError: it cannot be written; what lies there stays.
    """
    temporary = out.with_name(out.name + ".partial")
    try:
        _write(recipe, checkpoint, speech, vad, out, temporary)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise OutputError(
            f"{out} cannot be written ({error.strerror or error}); make room and run again: the stages are kept."
        ) from None
    except OutputError:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _write(
    recipe: Recipe, checkpoint: Checkpoint, speech: SpeechProgram, vad: bytes, out: Path, temporary: Path
) -> None:
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    (temporary / "model.pte").write_bytes(speech.data)
    (temporary / "vad.pte").write_bytes(vad)
    write_pieces(temporary / VOCABULARY, checkpoint.vocabulary.pieces)
    manifest = _manifest(recipe, checkpoint, speech, {path.name: _facts(path) for path in sorted(temporary.iterdir())})
    if recipe.base:
        half = base.beside(out)
        base.save(checkpoint, QuantisationPlan.from_table(recipe.quantise).table, half)
        manifest["base"] = {"file": half.name, **_facts(half)}
    (temporary / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
    previous = out / "CARD.md"
    write_card(temporary / "CARD.md", manifest, previous.read_text() if previous.is_file() else "")
    former = out.with_name(out.name + ".former.partial")
    shutil.rmtree(former, ignore_errors=True)
    if out.exists():  # moved, not removed: a kill between the two leaves both whole
        out.replace(former)
    temporary.replace(out)
    shutil.rmtree(former, ignore_errors=True)


def _facts(path: Path) -> dict[str, Any]:
    data = path.read_bytes()
    return {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}


def _manifest(
    recipe: Recipe, checkpoint: Checkpoint, speech: SpeechProgram, files: Mapping[str, Any]
) -> dict[str, Any]:
    dims, tokens = checkpoint.dims, checkpoint.vocabulary
    plan = QuantisationPlan.from_table(recipe.quantise)
    counts = report(checkpoint.network(), plan)
    return {
        "format": FORMAT,
        "name": recipe.name,
        "language": recipe.language,
        "description": recipe.description,
        "sample_rate": SAMPLE_RATE,
        "parameters": checkpoint.parameters,
        "licences": LICENCES,
        "provenance": list(checkpoint.provenance),
        "files": dict(files),
        "programs": {
            "speech": {"file": "model.pte", "methods": speech.methods, "constants": speech.constants},
            "vad": {"file": "vad.pte", "methods": describe_vad()},
        },
        "speech": {
            "samples_per_position": SAMPLES_PER_POSITION,
            "positions": dims.audio_ctx,
            "cache": CACHE,
            "tokens_per_call": TOKENS_PER_CALL,
            "weights_bits": plan.bits,
            "layers": [
                {"heads": x.heads, "cross_heads": x.cross_heads, "head_dim": dims.head_dim} for x in dims.decoder
            ],
            "dims": dims.to_json(),
        },
        "vocabulary": {
            "file": VOCABULARY,
            "special": dict(tokens.special),
            "suppress": list(tokens.suppress),
            "suppress_first": list(tokens.suppress_first),
        },
        "quantisation": {"plan": plan.to_table(), "layers": counts.layers, "bytes": counts.bytes},
        "parity": speech.parity,
    }
