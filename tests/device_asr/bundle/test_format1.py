"""Bundles of format 1 are read as they are: the manifest is upgraded in memory."""

from __future__ import annotations

import functools
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import soundfile

from device_asr import config
from device_asr.bundle import format1, schema
from device_asr.bundle.bundle import load
from device_asr.errors import BundleError
from device_asr.events import Final, Partial
from device_asr.recognition.assemble import assemble
from tests.support.paths import ASSETS, MODEL

OLD = json.loads((Path(__file__).parent / "data" / "format1.json").read_text())  # the shipped one, without its history
LEFT_OUT = ("quantization", "parity", "provenance")  # of the shipped manifest


@pytest.fixture
def old_bundle(tmp_path: Path) -> Path:
    bundle = Path(shutil.copytree(MODEL, tmp_path / "old"))
    (bundle / "manifest.json").write_text(json.dumps(OLD))
    return bundle


def test_the_upgrade_is_the_shipped_manifest() -> None:
    before = json.dumps(OLD)
    shipped = json.loads((MODEL / "manifest.json").read_text())
    upgraded = format1.upgrade(OLD)
    assert {k: v for k, v in upgraded.items() if k not in LEFT_OUT} == {
        k: v for k, v in shipped.items() if k not in LEFT_OUT
    }
    assert json.dumps(OLD) == before and format1.problem(OLD) is None and schema.problem(upgraded) is None


def test_early_british_keys_are_upgraded_too() -> None:
    licenses = [{"part": "a", "licence": "MIT", "from": "b"}]
    old = {**{k: v for k, v in OLD.items() if k != "licenses"}, "licences": licenses, "quantisation": {"plan": {}}}
    upgraded = format1.upgrade(old)
    assert upgraded["licenses"] == [{"part": "a", "license": "MIT", "from": "b"}]
    assert upgraded["quantization"] == {"plan": {}}


def test_an_old_bundle_writes_the_text_that_the_shipped_one_writes(old_bundle: Path) -> None:
    pcm, _ = soundfile.read(ASSETS / "timer.flac", dtype="float32")
    events = []
    for bundle in (old_bundle, MODEL):
        recognizer = assemble(config.load(environ={}, flags={"model.name": str(bundle)}).config)
        found = [*recognizer.feed(pcm), *recognizer.finish()]
        events.append([replace(event, compute=0.0) if isinstance(event, Partial | Final) else event for event in found])
    assert any(isinstance(event, Final) and event.words for event in events[0]) and events[0] == events[1]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a parsed JSON text; of a list the first two."""
    if path:
        yield path
    for key in value if isinstance(value, dict) else range(min(2, len(value))) if isinstance(value, list) else ():
        yield from places(value[key], (*path, key))


@pytest.mark.parametrize("damage", [None, "x", -1, 1.5, [None], {"a": None}, 10**12], ids=str)
def test_any_damage_to_an_old_manifest_is_told_and_never_a_crash(damage: object) -> None:
    told = 0
    for *parents, last in places(OLD):
        manifest = json.loads(json.dumps(OLD))
        functools.reduce(lambda at, key: at[key], parents, manifest)[last] = damage
        told += bool(format1.problem(manifest) or schema.problem(format1.upgrade(manifest)))
    assert told > 60


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        (("vocabulary", "special"), {"end": 1}, "the manifest lacks vocabulary.special.start"),
        (("programs", "speech", "methods", "decode", "inputs", 0, "name"), "words", "of speech.decode, found 'words'"),
        (("programs", "speech", "constants"), {}, "of speech.decode, found 'table'"),
    ],
)
def test_damage_is_told_with_its_place(old_bundle: Path, path: tuple[Any, ...], value: object, sentence: str) -> None:
    manifest = json.loads(json.dumps(OLD))
    functools.reduce(lambda at, key: at[key], path[:-1], manifest)[path[-1]] = value
    (old_bundle / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError) as error:
        load(str(old_bundle), verify=False)
    assert sentence in str(error.value) and "build or copy the bundle again" in str(error.value)
