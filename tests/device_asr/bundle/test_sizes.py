"""Nothing that a manifest or a vocabulary says is believed beyond what a model has: memory, lengths, delays."""

from __future__ import annotations

import base64
import functools
import gzip
import json
import shutil
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from device_asr.bundle import vocabulary
from device_asr.bundle.bundle import MOST_MANIFEST, Bundle, load
from device_asr.bundle.schema import problem
from device_asr.bundle.vocabulary import read_tokens, write_tokens
from device_asr.config import DecodingConfig
from device_asr.decoding.decoder import Decoder
from device_asr.errors import BundleError
from tests.support.paths import MODEL

SHIPPED = json.loads((MODEL / "manifest.json").read_text())
# what a size can be damaged to without a check of its own: it is compared with the file, is shown to people, or has
# every value that the number may have
COMPARED_ELSEWHERE = ("bytes", "parameters", "offset", "start")

# sizes of outputs that no other number tells: ids, alignment heads
GIVEN = {("decode", "outputs", 0, "shape", 1), ("decode", "outputs", 1, "shape", 0)}


def numbers(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place of a whole number in what the runtime reads."""
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from numbers(value[key], (*path, key))
    elif isinstance(value, int) and not isinstance(value, bool):
        yield path


def damaged(path: tuple[Any, ...], value: object) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads(json.dumps(SHIPPED))
    *parents, last = path
    functools.reduce(lambda at, key: at[key], parents, manifest)[last] = value
    return manifest


READ = [
    path
    for path in numbers({key: SHIPPED[key] for key in ("sample_rate", "programs", "speech", "vocabulary")})
    if not set(path) & set(COMPARED_ELSEWHERE)
]


def test_every_size_is_checked() -> None:
    """A million at any of them is reported: none of them silently changes the text, or takes the memory."""
    assert len(READ) > 200
    believed = [path for path in READ if problem(damaged(path, 1_000_000)) is None]
    assert {path[-5:] for path in believed} == GIVEN


@pytest.mark.parametrize("place", sorted(GIVEN, key=str))
def test_what_only_the_program_knows_is_compared_when_it_runs(place: tuple[Any, ...]) -> None:
    bundle = Bundle(MODEL, damaged(("programs", "speech", "methods", *place), 1_000_000))
    decoder = Decoder(bundle, bundle.session("speech", 1), DecodingConfig())
    with pytest.raises(BundleError, match="as the manifest says, found"):
        decoder.decode(decoder.encode(np.zeros(16_000, np.float32)))


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        (
            ("programs", "speech", "methods", "stream", "delay"),
            10**6,
            "wanted a delay of speech.stream of at most 5120",
        ),
        (("programs", "speech", "methods", "stream", "look_ahead"), 10**6, "look-ahead, found"),
        (("speech", "retry_silence"), 10**5, "wanted at most 30 s at speech.retry_silence, found 100000"),
        (("speech", "positions"), 10**5, "wanted utterances of at most 120 s, found 100000 positions"),
        (("speech", "tokens_per_call"), 225, "wanted at most 224 (speech.cache) tokens_per_call, found 225"),
        (("speech", "samples_per_position"), 160, "wanted the shape [1, 2560] of the pcm of speech.stream"),
        (("speech", "word_start"), "\x1b", "none of them a control character at speech.word_start"),
        (("name",), "a\x1b[31m", "none of them a control character at name"),
        (("name",), "x" * 101, "wanted a name of 1 to 100 characters"),
        (("vocabulary", "suppress"), [36_000], "or no text would end, found 36000 in it"),
        (("files", "a\0b"), {"sha256": "", "bytes": 0}, "wanted names of files beside the manifest, found 'a\\x00b'"),
    ],
)
def test_what_no_model_has_is_named(path: tuple[Any, ...], value: object, sentence: str) -> None:
    assert sentence in str(problem(damaged(path, value)))


def test_states_may_not_take_the_memory_together() -> None:
    """Each of them is within its own bound."""
    manifest = json.loads(json.dumps(SHIPPED))
    stream = manifest["programs"]["speech"]["methods"]["stream"]
    for kind in ("inputs", "outputs"):
        states = [tensor for tensor in stream[kind] if tensor["role"].startswith("state")]
        stream[kind] += [
            {**states[-1], "name": f"more_{k}", "role": f"state[{len(states) + k}]", "shape": [1, 1000, 1000]}
            for k in range(100)
        ]
    assert "wanted at most 50000000 elements in all inputs and outputs together" in str(problem(manifest))


def test_a_manifest_of_a_hundred_thousand_tensors_is_refused_at_once(tmp_path: Path) -> None:
    manifest = json.loads(json.dumps(SHIPPED))
    inputs = manifest["programs"]["speech"]["methods"]["decode"]["inputs"]
    inputs += [{**inputs[-1], "name": f"x{k}", "role": f"y[{k % 9999}]"} for k in range(5_000)]
    assert len(str(problem(manifest))) < 1000
    (tmp_path / "manifest.json").write_text(json.dumps(manifest) + " " * MOST_MANIFEST)
    with pytest.raises(BundleError, match="it has more than 1000000 bytes"):
        load(tmp_path)


def test_an_old_manifest_is_checked_as_a_new_one_is(tmp_path: Path) -> None:
    old = json.loads((Path(__file__).parent / "data" / "format1.json").read_text())
    for key, value in (("ahead", 10**6), ("delay", 10**6)):
        manifest = json.loads(json.dumps(old))
        manifest["programs"]["speech"]["methods"]["stream"][key] = value
        (tmp_path / "manifest.json").write_text(json.dumps(manifest))
        with pytest.raises(BundleError, match=r"of speech\.stream"):
            load(tmp_path)


@pytest.mark.parametrize("number", ["1e999", "NaN", "1" + "0" * 400])
@pytest.mark.parametrize("place", ['"format":', '"parameters":', '"bytes":', '"offset":'])
def test_a_number_that_is_none_is_refused(place: str, number: str, tmp_path: Path) -> None:
    text = json.dumps(SHIPPED)
    at = text.index(place) + len(place)
    end = min(text.index(sign, at) for sign in ",}" if sign in text[at:])
    (tmp_path / "manifest.json").write_text(f"{text[:at]} {number}{text[end:]}")
    with pytest.raises(BundleError, match=r"manifest\.json cannot be read \(wanted "):
        load(tmp_path)


# -- the vocabulary ----------------------------------------------------------------------------------------


def test_a_vocabulary_bomb_is_refused_without_its_memory(tmp_path: Path) -> None:
    """0.2 MB that stand for 40 million tokens, some 3 GB of them in memory."""
    path = tmp_path / "vocabulary.txt.gz"
    path.write_bytes(gzip.compress(b"QQ==\n" * 40_000_000, 6))
    assert path.stat().st_size < 1_000_000
    tracemalloc.start()
    with pytest.raises(BundleError, match="cannot be read: it has more than 32000000 bytes"):
        read_tokens(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000_000


def test_a_vocabulary_has_a_bound_of_tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vocabulary, "MOST_TOKENS", 3)
    write_tokens(tmp_path / "a.txt", [b"a", b"", b"c"])
    assert read_tokens(tmp_path / "a.txt") == (b"a", b"", b"c")
    write_tokens(tmp_path / "a.txt", [b"a"] * 4)
    with pytest.raises(BundleError, match="it has more than 3 tokens; build or copy"):
        read_tokens(tmp_path / "a.txt")


def test_more_tokens_than_logits_are_refused(tmp_path: Path) -> None:
    for file in MODEL.iterdir():
        (tmp_path / file.name).symlink_to(file)
    (tmp_path / "vocabulary.txt.gz").unlink()
    write_tokens(tmp_path / "vocabulary.txt.gz", [b"a"] * 36_005)
    with pytest.raises(BundleError, match="wanted at most 36004 tokens, one for each logit, found 36005"):
        Bundle(tmp_path, SHIPPED).vocabulary()


def test_a_line_that_is_no_token_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(base64.b64encode(b"a") + b"\n%%%\n")
    with pytest.raises(BundleError, match=r"a\.txt cannot be read"):
        read_tokens(tmp_path / "a.txt")


# -- where models are looked up -------------------------------------------------------------------------------


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a folder that is called like the shipped model."""
    shutil.copytree(MODEL, tmp_path / "en-tiny", copy_function=lambda a, b: Path(b).symlink_to(a))
    shutil.copytree(MODEL, tmp_path / "mine", copy_function=lambda a, b: Path(b).symlink_to(a))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_folder_in_the_working_directory_never_takes_a_models_place(planted: Path) -> None:
    assert load("en-tiny", verify=False).path == MODEL


@pytest.mark.parametrize("path", ["./en-tiny", "en-tiny/", "../{}/en-tiny", "{}/en-tiny"])
def test_an_explicit_path_is_one(path: str, planted: Path) -> None:
    path = path.format(planted.name if path.startswith("..") else planted)
    assert load(path, verify=False).path.resolve() == planted / "en-tiny"
    assert load(Path("en-tiny"), verify=False).path.resolve() == planted / "en-tiny"


def test_a_name_that_only_the_working_directory_has_is_told_as_a_path(planted: Path) -> None:
    with pytest.raises(BundleError, match=r"No model is called 'mine'.*write the path '\./mine'"):
        load("mine")


@pytest.mark.parametrize("name", ["../none", "a\0/b", "x" * 5000 + "/", "~nobody-of-this-name/x", "\x1b[2J", "a\nb"])
def test_a_name_of_nothing_is_a_sentence_without_controls(name: str) -> None:
    with pytest.raises(BundleError) as error:
        load(name)
    assert str(error.value).isprintable()
