"""Writing settings into a config file, which keeps everything else in it."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_asr.commands.config import commented_file
from device_asr.config import load
from device_asr.config.writing import with_settings, write_settings
from device_asr.errors import OutputError, UsageError

OWN = """# mine
[partial]  # how text appears
interval_ms = 640   # calm
# mode = "stream"

[interface.keys]
pause = "space"

[model]
name = "en-tiny"
"""


def test_a_line_is_changed_in_its_place_and_all_others_stay() -> None:
    changed = with_settings(OWN, {"partial.interval_ms": 960, "partial.mode": "reencode", "model.threads": 3})
    assert changed.splitlines() == [
        "# mine",
        "[partial]  # how text appears",
        "interval_ms = 960   # calm",
        '# mode = "stream"',
        'mode = "reencode"',
        "",
        "[interface.keys]",
        'pause = "space"',
        "",
        "[model]",
        'name = "en-tiny"',
        "threads = 3",
    ]


def test_a_section_that_is_missing_comes_last() -> None:
    assert with_settings("", {"final.mode": "stream"}) == '[final]\nmode = "stream"\n'
    assert with_settings(OWN, {"final.mode": "full"}).endswith('name = "en-tiny"\n\n[final]\nmode = "full"\n')


def test_the_commented_file_gets_each_setting_below_its_description(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(commented_file())
    write_settings(path, {"model.threads": 3, "partial.enabled": False})
    lines = path.read_text().splitlines()
    assert lines[lines.index("threads = 3") - 1] == "# threads = 2"
    loaded = load(path, {})
    assert loaded.config.model.threads == 3 and loaded.config.partial.enabled is False
    assert loaded.origins["model.threads"] == str(path) and loaded.origins["final.mode"] == "default"


def test_a_file_and_its_folder_are_made_where_there_are_none(tmp_path: Path) -> None:
    path = tmp_path / "new" / "config.toml"
    write_settings(path, {"model.threads": 1})
    assert path.read_text() == "[model]\nthreads = 1\n"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    "text",
    [
        "model = {threads = 2}\n",
        "model.threads = 2\n",
        "model = 3\n",
        "[model\n",
        'text = """\n[model]\nthreads = 1\n"""\n',
    ],
)
def test_a_file_that_cannot_be_changed_safely_is_left_as_it_is(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match="was left as it is"):
        write_settings(path, {"model.threads": 4})
    assert path.read_text() == text


def test_a_folder_that_is_not_for_this_user_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="nothing in it was changed"):
        write_settings(tmp_path / "file" / "config.toml", {"model.threads": 4})


@given(
    text=st.lists(
        st.sampled_from(
            ["[model]", "[partial]", "threads = 2", "# threads = 2", "interval_ms = 96 # x", "", '[ "a"]', "x = [", "]"]
        ),
        max_size=12,
    ).map("\n".join),
    threads=st.integers(1, 64),
)
def test_whatever_is_in_the_file_it_either_holds_the_setting_and_all_others_or_is_refused(
    text: str, threads: int
) -> None:
    try:
        changed = with_settings(text, {"model.threads": threads})
    except ValueError:
        return
    before, after = tomllib.loads(text), tomllib.loads(changed)
    assert after["model"].pop("threads") == threads
    before.setdefault("model", {}).pop("threads", None)
    assert after == before
