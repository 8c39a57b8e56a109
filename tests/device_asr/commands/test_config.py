"""`device-asr config --init`: the file it writes, and the mistakes it meets."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from device_asr import config
from device_asr.cli import main
from device_asr.commands.config import command, commented_file, write_commented_file
from device_asr.errors import OutputError, UsageError


def test_the_commented_file_holds_every_setting_and_changes_none(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(commented_file())
    assert config.load(path, environ={}).config == config.Config()
    named = re.findall(r"(?m)^# (\w+) = ", path.read_text())
    assert named == [setting.key.split(".")[1] for setting in config.describe()]


@pytest.mark.parametrize("arguments", [["--init"], ["--init", "--config", "FILE"], ["--config", "FILE", "--init"]])
def test_init_writes_the_file_that_does_not_exist_yet(arguments: list[str], tmp_path: Path) -> None:
    """The message about a missing config file sends people here: it must not ask for that file again."""
    path = tmp_path / "new" / "config.toml"
    arguments = [str(path) if a == "FILE" else a for a in arguments]
    done = CliRunner().invoke(command, arguments, env={"DEVICE_ASR_CONFIG": str(path)})
    assert (done.exit_code, done.output) == (0, f"{path}\n")
    assert path.read_text() == commented_file() and [p.name for p in path.parent.iterdir()] == ["config.toml"]


def test_init_leaves_a_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("mine")
    with pytest.raises(OutputError, match="exists already and was left alone"):
        write_commented_file(path)
    assert path.read_text() == "mine"


def test_a_file_in_the_place_of_the_folder_is_reported_as_such(tmp_path: Path) -> None:
    (tmp_path / "folder").write_text("")
    with pytest.raises(OutputError, match=r"could not be written: (File exists|Not a directory)\."):
        write_commented_file(tmp_path / "folder" / "config.toml")


@pytest.mark.parametrize(("found", "nearest"), [("lihgt", "light"), ("solarised dark", "dark")])
def test_an_unknown_theme_is_one_sentence_with_the_nearest(tmp_path: Path, found: str, nearest: str) -> None:
    path = tmp_path / "config.toml"
    path.write_text(f'[interface]\ntheme = "{found}"\n')
    with pytest.raises(UsageError) as error:
        config.load(path, environ={})
    assert str(error.value) == (
        f"interface.theme: wanted one of dark, light, found {found!r}; the nearest is {nearest!r}."
    )


def test_keys_are_shown_as_they_would_be_written(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text('[interface]\nkeys = { pause = "f2", help = "?" }\n')
    shown = CliRunner().invoke(command, ["--config", str(path)]).output
    assert re.search(r'interface\.keys +\{"pause" = "f2", "help" = "\?"\} +' + re.escape(str(path)), shown)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--debug", "history", "show", "nobody"],
        ["history", "--debug", "show", "nobody"],
        ["history", "show", "nobody", "--debug"],
    ],
)
def test_debug_may_stand_before_and_after_the_verb(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DEVICE_ASR_SESSION_FOLDER", str(tmp_path))
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2 and "Wanted session 'nobody'" in capsys.readouterr().err

    def broken(*_: object) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr("device_asr.dictation.history.find", broken)
    with pytest.raises(RuntimeError):
        main(arguments)
    with pytest.raises(SystemExit):
        main([argument for argument in arguments if argument != "--debug"])
    assert "--debug history show nobody" in capsys.readouterr().err


RENAMED = {
    "endpoint.longest_phrase_s": "endpoint.longest_utterance_s",
    "partial.guard_ms": "partial.holdback_ms",
    "partial.first_guard_ms": "partial.first_holdback_ms",
    "final.favour_shown": "final.partial_bias_nats",
}


@pytest.mark.parametrize(("former", "now"), RENAMED.items())
def test_a_former_name_of_a_setting_is_answered_with_the_new_one(former: str, now: str, tmp_path: Path) -> None:
    """In the file, in the environment and behind --set."""
    section, name = former.split(".")
    path = tmp_path / "config.toml"
    path.write_text(f"[{section}]\n{name} = 10\n")
    variable = f"DEVICE_ASR_{section}_{name}".upper()
    sentence = re.escape(f"the setting {former!r} is called {now!r} now")
    with pytest.raises(UsageError, match=re.escape(str(path)) + ": " + sentence):
        config.load(path, environ={})
    path.write_text("")
    with pytest.raises(UsageError, match=f"environment {variable}: {sentence}.*DEVICE_ASR_{now.split('.')[0].upper()}"):
        config.load(path, environ={variable: "10"})
    done = CliRunner().invoke(command, ["--config", str(path), "--set", f"{former}=10"])
    assert isinstance(done.exception, UsageError) and re.search("flag: " + sentence, str(done.exception))
