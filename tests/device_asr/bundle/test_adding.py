"""Adding a model from a folder or an archive: whole or not at all, and nothing but the bundle."""

from __future__ import annotations

import errno
import gzip
import io
import os
import shutil
import tarfile
import tracemalloc
from pathlib import Path

import pytest

from device_asr.bundle import adding
from device_asr.bundle.adding import add_bundle
from device_asr.bundle.bundle import find_bundles, load, user_models
from device_asr.errors import BundleError, OutputError
from tests.support.paths import MODEL


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user data folder without models."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path / "data"


def archive(path: Path, files: dict[str, bytes], kind: bytes = tarfile.REGTYPE) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.type = len(data), kind
            tar.addfile(member, io.BytesIO(data))
    return path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The shipped model, with a file that is none of its own."""
    copy = shutil.copytree(MODEL, tmp_path / "copy")
    (copy / "notes.txt").write_text("mine")
    return copy


def untouched() -> bool:
    """Whether nothing was added and nothing half-written is left."""
    return list(user_models().parent.rglob("*")) == [user_models()]


def test_a_folder_is_copied_whole_and_found_by_its_name(model: Path) -> None:
    added = add_bundle(model)
    assert added == user_models() / "en-tiny"
    assert {path.name for path in added.iterdir()} == {path.name for path in MODEL.iterdir()}
    load(str(added))
    assert list(user_models().parent.iterdir()) == [user_models()]


@pytest.mark.parametrize("folder", ["any-name/", "./", ""])
def test_an_archive_of_a_folder_is_added(folder: str, tmp_path: Path) -> None:
    files = {f"{folder}{path.name}": path.read_bytes() for path in MODEL.iterdir()}
    assert add_bundle(archive(tmp_path / "a.tar.gz", files)).name == "en-tiny"


def test_a_model_that_is_there_stays_unless_it_is_to_be_replaced(model: Path) -> None:
    added = add_bundle(model)
    (added / "CARD.md").write_text("changed")
    with pytest.raises(BundleError, match=r"is there already; .*--replace"):
        add_bundle(model)
    assert (added / "CARD.md").read_text() == "changed"
    add_bundle(model, replace=True)
    assert (added / "CARD.md").read_text() != "changed"


def test_a_link_is_replaced_and_what_it_leads_to_stays(model: Path, tmp_path: Path) -> None:
    user_models().mkdir(parents=True)
    (user_models() / "en-tiny").symlink_to(MODEL)
    assert not add_bundle(model, replace=True).is_symlink()
    assert (MODEL / "manifest.json").exists()


@pytest.mark.parametrize("link", [False, True])
def test_a_disk_that_breaks_at_the_last_step_leaves_the_former_model(
    model: Path, link: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if link:
        user_models().mkdir(parents=True)
        (user_models() / "en-tiny").symlink_to(MODEL)
    else:
        add_bundle(model)
    rename = Path.rename

    def breaks(path: Path, target: Path) -> Path:
        if path.name == "whole":
            raise OSError(errno.EIO, "Input/output error")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", breaks)
    with pytest.raises(OutputError, match="Input/output error"):
        add_bundle(model, replace=True)
    assert (user_models() / "en-tiny" / "manifest.json").exists()
    assert (user_models() / "en-tiny").is_symlink() == link


def test_a_damaged_file_is_named_and_nothing_is_added(model: Path) -> None:
    data = bytearray((model / "vad.pte").read_bytes())
    data[1000] ^= 1
    (model / "vad.pte").write_bytes(data)
    with pytest.raises(BundleError, match=f"{model}/vad.pte: wanted sha256"):
        add_bundle(model)
    assert untouched()


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"../manifest.json": b"{}"}, "wanted plain files in one folder, found"),
        ({"a/b/manifest.json": b"{}"}, "wanted plain files in one folder, found"),
        ({"/etc/manifest.json": b"{}"}, "wanted plain files in one folder, found"),
        ({"a/manifest.json": b"{}", "b/manifest.json": b"{}"}, "wanted one bundle"),
        ({"a/readme": b""}, "a.tar.gz"),
        ({f"a/{i}": b"" for i in range(99)}, "wanted at most 64 files"),
    ],
)
def test_an_archive_of_something_else_is_refused(files: dict[str, bytes], message: str, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=message):
        add_bundle(archive(tmp_path / "a.tar.gz", files))
    assert untouched()


def test_a_link_in_an_archive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="wanted plain files"):
        add_bundle(archive(tmp_path / "a.tar.gz", {"a/manifest.json": b""}, tarfile.SYMTYPE))


def test_an_archive_is_not_unpacked_beyond_the_largest_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adding, "MOST_BYTES", 1_000_000)
    with pytest.raises(BundleError, match="of 1 MB together, found more"):
        add_bundle(archive(tmp_path / "a.tar.gz", {"a/manifest.json": bytes(2_000_000)}))
    assert untouched()


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_header_that_claims_gigabytes_takes_no_memory(kind: bytes, tmp_path: Path) -> None:
    """`tarfile` reads such a header at once; 0.1 MB stand for 100 here."""
    member = tarfile.TarInfo("a")
    member.size, member.type = 100_000_000, kind
    path = tmp_path / "a.tar.gz"
    path.write_bytes(gzip.compress(member.tobuf(tarfile.USTAR_FORMAT) + bytes(100_000_000), 6))
    tracemalloc.start()
    with pytest.raises(BundleError, match="a header of more than 1000000 bytes"):
        add_bundle(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000 and untouched()


@pytest.mark.parametrize("cut", [0, 100, 4_000])
def test_a_cut_archive_or_another_file_is_refused(cut: int, tmp_path: Path) -> None:
    path = archive(tmp_path / "a.tar.gz", {"a/manifest.json": os.urandom(10_000)})
    path.write_bytes(path.read_bytes()[:cut] if cut else b"no archive")
    with pytest.raises(BundleError, match="or damaged bytes"):
        add_bundle(path)
    assert untouched()


def test_models_of_the_environment_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = tmp_path / "prefix/share/device_asr/models"
    shared.mkdir(parents=True)
    (shared / "of-the-environment").symlink_to(MODEL)
    monkeypatch.setattr("sys.prefix", str(tmp_path / "prefix"))
    assert shared / "of-the-environment" in find_bundles()


def test_an_install_without_a_model_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("device_asr.bundle.bundle.find_bundles", lambda: [])
    with pytest.raises(BundleError, match=r"this install has none. .*models add PATH.*DEVICE_ASR_MODELS"):
        load("en-tiny")
