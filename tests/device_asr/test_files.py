"""Files that appear when they are whole, whoever else writes there, and who may read them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from device_asr.files import WholeFile, create, make_folder, write_whole

as_root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give a link away")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(autouse=True)
def _umask() -> object:
    before = os.umask(0o022)
    yield
    os.umask(before)


def test_a_file_of_a_person_or_a_planted_link_beside_the_target_is_left_alone(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("precious")
    for name in ("a.txt.partial", "b.txt.partial"):
        (tmp_path / name).symlink_to(precious)
    (tmp_path / "c.txt.partial").write_text("mine")
    for name in ("a.txt", "b.txt", "c.txt"):
        write_whole(tmp_path / name, "text")
        assert (tmp_path / name).read_text() == "text" and not (tmp_path / name).is_symlink()
    assert precious.read_text() == "precious" and (tmp_path / "c.txt.partial").read_text() == "mine"


def test_two_writers_of_one_file_do_not_meet_and_the_last_text_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    first, second = WholeFile(target), WholeFile(target)
    first.write("A" * 10)
    second.write("B" * 4)
    first.write("A" * 10)
    first.done()
    assert target.read_text() == "A" * 20
    second.done()
    assert target.read_text() == "BBBB"
    third, fourth = WholeFile(target), WholeFile(target)
    third.write("C")
    third.abandon()
    fourth.write("D")
    fourth.done()
    assert target.read_text() == "D" and os.listdir(tmp_path) == ["a.txt"]


def test_a_link_of_ones_own_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("before")
    (tmp_path / "link").symlink_to(tmp_path / "there")
    write_whole(tmp_path / "link", "after")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "there").read_text() == "after"


@as_root
def test_a_link_that_somebody_else_has_made_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    for name, target in (("link", tmp_path / "precious"), ("dangling", tmp_path / "absent")):
        (tmp_path / name).symlink_to(target)
        os.lchown(tmp_path / name, 12345, 12345)
        with pytest.raises(PermissionError, match="a link that somebody else has made"):
            write_whole(tmp_path / name, "text")
    assert (tmp_path / "precious").read_text() == "precious" and not (tmp_path / "absent").exists()


def test_a_new_file_is_made_under_a_free_name_alone(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "absent")
    with pytest.raises(FileExistsError):
        create(tmp_path / "a", 0o600)
    assert not (tmp_path / "absent").exists()


def test_a_private_file_is_its_owners_and_one_that_is_replaced_keeps_its_permissions(tmp_path: Path) -> None:
    write_whole(tmp_path / "private", "text", private=True)
    write_whole(tmp_path / "shared", "text")
    (tmp_path / "former").write_text("")
    os.chmod(tmp_path / "former", 0o640)
    write_whole(tmp_path / "former", "text", private=True)
    assert [mode(tmp_path / name) for name in ("private", "shared", "former")] == [0o600, 0o644, 0o640]


def test_every_private_folder_that_is_made_is_its_owners(tmp_path: Path) -> None:
    os.chmod(tmp_path, 0o755)
    make_folder(tmp_path / "a" / "b", private=True)
    make_folder(tmp_path / "a" / "c", private=False)
    make_folder(tmp_path / "a" / "b", private=False)
    assert [mode(tmp_path / name) for name in (".", "a", "a/b", "a/c")] == [0o755, 0o700, 0o700, 0o755]
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        make_folder(tmp_path / "file" / "b", private=True)


@pytest.mark.parametrize("name", ["a" * 255, "é" * 127, "日" * 85])
def test_a_name_may_be_as_long_as_the_file_system_allows(name: str, tmp_path: Path) -> None:
    write_whole(tmp_path / name, "text")
    assert os.listdir(tmp_path) == [name]


def test_half_a_character_does_not_stop_a_text(tmp_path: Path) -> None:
    write_whole(tmp_path / "a", "before \udcff after")
    assert (tmp_path / "a").read_text() == "before ? after"
