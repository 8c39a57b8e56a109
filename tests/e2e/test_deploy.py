"""The program on an emulated Raspberry Pi: installed from an archive, without network, in a Debian root."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import pytest

pytest.importorskip("packaging", reason="wants the offline stage")

from compress.deploy import check, guest, package, short_check
from compress.deploy.target import SYSTEMS, Target, target_of
from compress.search.device_profile import load as load_device
from device_asr.bundle.bundle import load
from device_asr.errors import DeviceAsrError
from tests.support.paths import ASSETS, MODEL
from tests.support.run import locked, made_once

PROCESSORS = ("cortex-a72", "cortex-a76")

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]


def target(*pythons: str) -> Target:
    return target_of(load_device("rpi5"), pythons)


@contextmanager
def skipping() -> Iterator[None]:
    """Skips the test where an emulator, apt's archive or a package index is not there."""
    try:
        yield
    except DeviceAsrError as error:
        if any(word in str(error) for word in ("is missing; run", "needs user namespaces", "check the network")):
            pytest.skip(str(error))
        raise


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive for both Pythons; the first worker that asks makes it."""

    def make(folder: Path) -> None:
        folder.mkdir()
        package.make(target(), load(str(MODEL)), folder / "bundle", lambda *_: None)

    with skipping():
        guest.require(target())
        guest.root(target(), SYSTEMS["3.11"])
        return made_once(tmp_path_factory, "deployed", make) / "bundle.tar.gz"


@pytest.fixture(scope="module")
def checked(archive: Path) -> list[check.Checked]:
    """What the check found with Python 3.11 under both processors; it is kept with the roots."""
    parts = [archive, *sorted(path for path in Path(check.__file__).parent.rglob("*") if path.is_file())]
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in parts if "__pycache__" not in path.parts]
    kept = guest.cache() / f"checked-{hashlib.sha256(' '.join(digests).encode()).hexdigest()[:16]}.json"
    with locked(archive):  # one worker of a run checks, the others wait for its result
        if not kept.is_file():
            found = check.check(target("3.11"), archive, load(str(MODEL)), "3.11", PROCESSORS)
            for former in guest.cache().glob("checked-*.json"):
                former.unlink()
            kept.write_text(json.dumps([asdict(one) for one in found]))
    return [check.Checked(**one) for one in json.loads(kept.read_text())]


def test_the_archive_installs_and_every_method_chooses_what_it_chooses_here(checked: list[check.Checked]) -> None:
    assert [one.processor for one in checked] == list(PROCESSORS)
    assert {one.text for one in checked} == {short_check.check(load(str(MODEL)), check.audio())["text"]}


def test_the_emulated_processors_are_those_of_the_devices(checked: list[check.Checked]) -> None:
    assert [one.dot_products for one in checked] == [False, True]


@pytest.mark.slow
@pytest.mark.timeout(3600)  # three minutes of CPU, emulated; a busy machine took 20 minutes for them
@pytest.mark.parametrize("python", SYSTEMS)
def test_the_letter_is_transcribed_under_both_processors(python: str, archive: Path) -> None:
    with check.installed(target(python), archive, SYSTEMS[python]) as (device, _):
        texts = {}
        for processor in PROCESSORS:
            emulated = replace(device, target=replace(device.target, processor=processor))
            run = emulated.run(".local/bin/device-asr", "transcribe", "bundle/letter.flac")
            assert run.code == 0, run.errors
            texts[processor] = run.said
            print(f"{SYSTEMS[python]}, {processor}: {run.cpu:.0f} s of CPU\n{run.said}")
    words = json.loads((ASSETS / "letter.jsonl").read_text())["text"].lower().split()
    for text in texts.values():
        assert difflib.SequenceMatcher(None, words, text.lower().split()).ratio() > 0.9
