"""Bundles: folders with a manifest.json, programs and a vocabulary; found, loaded and verified here.

The manifest's format 2 tells the runtime what it needs, and nothing about the network:
    format, name, family (for people), language, description, sample_rate, parameters, licenses, provenance
    files: file name -> {sha256, bytes}
    programs: "speech" and "vad" -> {file, methods, constants}
        methods: name -> {inputs, outputs: [{name, role, shape, dtype, start}]}; a text in a shape is a length that
            varies; `device_asr.bundle.roles` describes the roles. The method stream, which a model may lack, also has
            delay (samples by which a position's audio lies before the position) and look_ahead (positions at the end
            of each output that the next call returns again). start: what a state is filled with before any audio.
        constants: name of an input -> {offset, shape, dtype}, bytes of the program file
    speech: samples_per_position, positions (most of an utterance), cache (token slots), tokens_per_call, prompt (ids),
        end (id), no_speech (id or null), word_start (how the text of a token begins that starts a word; with U+2581
        the tokens are SentencePiece's); and, where they differ from Whisper's, tokens_per_second, retry_silence and
        end_first, see `device_asr.bundle.speech`
    vocabulary: {file, suppress, suppress_first}
    quantization, parity, base: what the offline stage did
`device_asr.bundle.schema` checks it; `device_asr.bundle.format1` upgrades format 1 in memory.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from device_asr.bounded import parse_json, read_bytes
from device_asr.bundle import format1, schema
from device_asr.bundle.features import gives
from device_asr.bundle.method import Method, open_program
from device_asr.bundle.roles import ALIGNMENT, LOGITS
from device_asr.bundle.speech import Speech, read_speech
from device_asr.bundle.vocabulary import SENTENCEPIECE_SPACE, Vocabulary, plain_tokens, read_tokens
from device_asr.errors import BundleError
from device_asr.printable import short
from device_asr.runtime.session import Session

FORMAT = 2
MODELS_VARIABLE = "DEVICE_ASR_MODELS"
MOST_MANIFEST = 1_000_000  # bytes; en-tiny's has 18 thousand


@dataclass(frozen=True)
class Bundle:
    """A bundle with its manifest, in the newest format."""

    path: Path
    manifest: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The model's name."""
        return str(self.manifest["name"])

    @property
    def size(self) -> int:
        """Bytes of all files that the manifest lists."""
        return sum(int(entry["bytes"]) for entry in self.manifest["files"].values())

    @property
    def speech(self) -> Speech:
        """The limits and habits of the speech program."""
        return read_speech(self.manifest)

    def vocabulary(self) -> Vocabulary:
        """Reads the tokens, with their special ids.

        Raises:
            BundleError: see `read_tokens`; or there are more tokens than the program has logits.
        """
        entry, speech = self.manifest["vocabulary"], self.manifest["speech"]
        tokens, word_start = read_tokens(self.path / entry["file"]), str(speech["word_start"])
        outputs = self.manifest["programs"]["speech"]["methods"]["decode"]["outputs"]
        (ids,) = (tensor["shape"][-1] for tensor in outputs if tensor["role"] == LOGITS)
        if len(tokens) > ids:
            raise BundleError(
                f"{self.path / entry['file']}: wanted at most {ids} tokens, one for each logit, found {len(tokens)}; "
                "build or copy the bundle again."
            )
        if word_start.startswith(SENTENCEPIECE_SPACE):
            tokens, word_start = plain_tokens(tokens), word_start.replace(SENTENCEPIECE_SPACE, " ")
        return Vocabulary(
            tokens,
            tuple(speech["prompt"]),
            speech["end"],
            speech["no_speech"],
            tuple(entry["suppress"]),
            tuple(entry["suppress_first"]),
            word_start,
        )

    def method(self, session: Session, program: str, name: str) -> Method:
        """The method of a session of the program "speech" or "vad"."""
        return Method(session, name, self.manifest["programs"][program]["methods"][name])

    @property
    def stream(self) -> Mapping[str, Any] | None:
        """The description of the method `stream`; None: the model cannot stream."""
        method: Mapping[str, Any] | None = self.manifest["programs"]["speech"]["methods"].get("stream")
        return method

    @property
    def aligns(self) -> bool:
        """Whether `decode` tells which audio each token attends to."""
        return gives(self.manifest["programs"]["speech"]["methods"]["decode"], ALIGNMENT)

    def session(self, program: str, threads: int) -> Session:
        """Loads the program "speech" or "vad"."""
        entry = self.manifest["programs"][program]
        return open_program(self.path / entry["file"], entry["methods"], entry.get("constants"), threads)


def user_models() -> Path:
    """The folder of the models that a person added, for all environments."""
    import platformdirs

    return Path(platformdirs.user_data_dir("device_asr")) / "models"


def search_path() -> list[Path]:
    """Folders that hold bundles, first to last.

    `DEVICE_ASR_MODELS`, the repository's models/, the user's models, and share/device_asr/models of the environment.
    """
    folders = [Path(p) for p in os.environ.get(MODELS_VARIABLE, "").split(os.pathsep) if p]
    folders.append(Path(__file__).resolve().parents[2] / "models")
    folders.append(user_models())
    folders.append(Path(sys.prefix) / "share" / "device_asr" / "models")
    return folders


def find_bundles() -> list[Path]:
    """Every bundle folder on the search path; of folders with the same name the first."""
    found: dict[str, Path] = {}
    for folder in search_path():
        if folder.is_dir():
            for manifest in sorted(folder.glob("*/manifest.json")):
                found.setdefault(manifest.parent.name, manifest.parent)
    return list(found.values())


def locate(name_or_path: str | Path) -> Path:
    """The folder of a bundle: the one place where models are looked up.

    A text is a path where it says so (`./en-tiny`, `models/en-tiny`, `/srv/en-tiny`, `~/en-tiny`), else the name of a
    model on the search path: a folder of that name in the working directory never takes a model's place.

    Raises:
        BundleError: there is no such bundle; the message lists the bundles that were found.
    """
    if isinstance(name_or_path, Path) or _says_path(name_or_path):
        path = Path(name_or_path) if isinstance(name_or_path, Path) else Path(os.path.expanduser(name_or_path))
        if _is_bundle(path):
            return path
        raise BundleError(
            f"No model in {path}: wanted a folder with manifest.json, found none; `device-asr models list` shows the "
            "models that a name finds."
        )
    by_name = {p.name: p for p in find_bundles()}
    if name_or_path in by_name:
        return by_name[name_or_path]
    if _is_bundle(Path(name_or_path)):
        raise BundleError(
            f"No model is called {name_or_path!r}, but a folder in the working directory is; to use it, write the "
            f"path {'./' + name_or_path!r}."
        )
    if not by_name:
        raise BundleError(
            f"No model {name_or_path!r}: this install has none. Get the folder models/{name_or_path} of device_asr's "
            f"repository or an archive of it, and run `device-asr models add PATH`, or set {MODELS_VARIABLE} to the "
            "folder that holds it."
        )
    known = ", ".join(sorted(by_name))
    raise BundleError(
        f"No model {name_or_path!r}: wanted one of the models found ({known}), or the path of a folder with "
        f"manifest.json, such as ./{name_or_path}; `device-asr models list` shows where they are looked for."
    )


def _says_path(text: str) -> bool:
    """Whether a text is meant as a path and not as a model's name."""
    return text in (".", "..") or text.startswith("~") or any(sign in text for sign in ("/", os.sep, os.altsep) if sign)


def _is_bundle(path: Path) -> bool:
    """Whether a folder has a manifest.

    Raises:
        BundleError: the system does not say.
    """
    try:
        return (path / "manifest.json").is_file()
    except (OSError, ValueError) as error:  # a folder that may not be entered, a name that is too long
        reason = error.strerror if isinstance(error, OSError) else error
        raise BundleError(
            f"{path}: the model cannot be read ({reason}); check the name and who may read the folder."
        ) from None


def load(name_or_path: str | Path, verify: bool = True) -> Bundle:
    """Reads a bundle's manifest and checks its files' sizes; with `verify` also their sha256 (30 ms for 24 MB).

    Args:
        name_or_path: see `locate`; a `Path` is always a folder's.

    Raises:
        BundleError: missing, damaged, incomplete, or of a newer format.
    """
    path = locate(name_or_path)
    try:
        manifest = parse_json(read_bytes(path / "manifest.json", MOST_MANIFEST))
    except OSError as error:
        raise BundleError(
            f"{path / 'manifest.json'} cannot be read ({error.strerror}); check who may read it."
        ) from None
    except ValueError as error:  # not UTF-8, not JSON, beyond all bounds
        raise BundleError(
            f"{path / 'manifest.json'} cannot be read ({error}); build or copy the bundle again."
        ) from None
    found = manifest.get("format") if isinstance(manifest, dict) else None
    if not isinstance(found, int) or isinstance(found, bool) or found < 1:
        raise BundleError(
            f"{path}: wanted a manifest with a format number, found {short(found)}; is it a model bundle?"
        )
    if found > FORMAT:
        raise BundleError(
            f"{path}: the bundle has format {short(found)}, this program reads up to {FORMAT}; update device-asr."
        )
    wrong = format1.problem(manifest) if found == 1 else None
    if found == 1 and wrong is None:
        manifest = format1.upgrade(manifest)
    wrong = wrong or schema.problem(manifest)
    if wrong:
        raise BundleError(f"{path / 'manifest.json'}: {wrong}; build or copy the bundle again.")
    bundle = Bundle(path, manifest)
    _check_sizes(bundle)
    if verify:
        check_files(bundle)
    return bundle


def _check_sizes(bundle: Bundle) -> None:
    """Checks the size of every file: a program that was cut short ends the process when it is run."""
    for name, entry in bundle.manifest["files"].items():
        path = bundle.path / name
        if not path.is_file():
            raise BundleError(f"{bundle.path}: the file {name} is missing; build or copy the bundle again.")
        size = path.stat().st_size
        if size != entry["bytes"]:
            raise BundleError(f"{path}: wanted {entry['bytes']} bytes, found {size}; copy the bundle again.")


def check_files(bundle: Bundle) -> None:
    """Compares every file with the manifest's sha256.

    Raises:
        BundleError: naming the first file that differs, with both values.
    """
    for name, entry in bundle.manifest["files"].items():
        try:
            with (bundle.path / name).open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise BundleError(
                f"{bundle.path / name} cannot be read ({error.strerror}); check who may read it."
            ) from None
        if digest != entry["sha256"]:
            raise BundleError(
                f"{bundle.path / name}: wanted sha256 {entry['sha256'][:16]}..., found "
                f"{digest[:16]}...; the file was changed or damaged, copy the bundle again."
            )
