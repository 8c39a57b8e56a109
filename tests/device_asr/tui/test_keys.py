"""Keys that the person chose."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from textual.pilot import Pilot

from device_asr.commands.config import command as config_command
from device_asr.errors import UsageError
from device_asr.tui.app import DictationApp
from device_asr.tui.keys import keymap
from tests.support.interface import run, until


def test_keys_are_rebound_also_with_one_another(tmp_path: Path) -> None:
    async def scenario(app: DictationApp, pilot: Pilot) -> None:
        await until(pilot, lambda: app.session.state.phase == "listening")
        await pilot.press("f2")
        await until(pilot, lambda: app.session.state.phase == "paused")
        await pilot.press("c")
        await until(pilot, lambda: app.session.state.muted)

    run(tmp_path, scenario, keys={"pause": "f2", "mute": "c", "copy": "m"})


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({"paus": "f2"}, "found 'paus'; the nearest is 'pause'"),
        ({"pause": "spce"}, "found 'spce'; the nearest is 'space'"),
        ({"pause": "hyper+x"}, "found 'hyper+x'; the nearest is"),
        ({"pause": " , "}, "wanted a key"),
        ({"pause": "m"}, "'m' is wanted for 'mute' and already means: pause"),
        ({"pause": "f2", "mute": "f5,f2"}, "'f2' is wanted for 'mute' and already means: pause"),
        ({"pause": "enter"}, "'enter' is wanted for 'pause' and already means: edit a line"),
        ({"quit": "ctrl+c"}, "'ctrl+c' is wanted for 'interrupt' and already means: quit"),
    ],
)
def test_keys_that_cannot_be_are_reported(tmp_path: Path, keys: dict[str, str], sentence: str) -> None:
    with pytest.raises(UsageError, match=re.escape(sentence)):
        keymap(keys)
    table = ", ".join(f"{action} = {key!r}" for action, key in keys.items())
    (tmp_path / "config.toml").write_text(f"[interface]\nkeys = {{ {table} }}\n")
    done = CliRunner().invoke(config_command, ["--config", str(tmp_path / "config.toml")])
    assert isinstance(done.exception, UsageError), "`device-asr config` reports it too"


def test_keys_may_be_written_as_the_character() -> None:
    assert keymap({"help": "?", "pause": ",", "mute": " ", "new": "+", "copy": "ctrl+k, f5"}) == {
        "help": "question_mark",
        "pause": "comma",
        "mute": "space",
        "new": "plus",
        "copy": "ctrl+k,f5",
    }
