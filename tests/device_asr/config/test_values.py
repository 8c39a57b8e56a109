"""Every setting takes a value of its kind, or says in one sentence what it wants: from a flag, a variable or a file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from device_asr.config import ENVIRONMENT_PREFIX, Config, describe, load
from device_asr.errors import UsageError

KEYS = sorted(setting.key for setting in describe() if setting.key != "interface.keys")
TEXTS = ["inf", "-inf", "nan", "1e400", "1" + "0" * 400, "1" + "0" * 5000, "-1", "", "\x1b[2J", "[" * 1000, "é" * 9000]
VALUES = ["inf", "nan", "1e400", "1" + "0" * 400, "1" + "0" * 5000, "[[1]]", '"a\\u0000b"', "{}", "1979-05-27", "-1"]
NEVER = [value for value in VALUES if value not in ("{}", "-1", "[[1]]")]  # those of no setting


def takes(call: Callable[[], object]) -> bool:
    """Whether the settings were taken; False: they were refused in one sentence of some hundred characters."""
    try:
        call()
    except UsageError as error:
        assert len(str(error)) < 500 and ("found" in str(error) or "not valid TOML" in str(error))
        return False
    return True


@pytest.mark.parametrize("key", KEYS)
def test_a_flag_and_a_variable_are_taken_or_refused_in_a_sentence(key: str) -> None:
    kind = {setting.key: setting for setting in describe()}[key]
    for text in TEXTS:
        flag = takes(lambda text=text: load(Path("/dev/null"), {}, {key: text}))
        variable = {ENVIRONMENT_PREFIX + key.replace(".", "_").upper(): text}
        assert takes(lambda variable=variable: load(Path("/dev/null"), variable)) == flag
        assert not flag or text in ("", "-1") or kind.low is None


@pytest.mark.parametrize("key", KEYS)
def test_a_value_in_a_file_is_taken_or_refused_in_a_sentence(key: str, tmp_path: Path) -> None:
    section, name = key.split(".")
    path = tmp_path / "config.toml"
    for value in VALUES:
        path.write_text(f"[{section}]\n{name} = {value}\n")
        taken = takes(lambda: load(path, {}))
        assert not (taken and value in NEVER)
    path.write_text(f"[{section}]\n{name} = {json.dumps('a' + chr(0) + 'b')}\n")
    assert not takes(lambda: load(path, {})), "a zero byte is in no text: it ends paths"


@pytest.mark.parametrize("text", ["a = " + "[" * 100_000, "[" * 100_000, "a" * 5_000_000, "\0", "a = 1\n[a]\n"])
def test_a_file_beyond_all_bounds_is_a_sentence(text: str, tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"Config file .*config\.toml (is not valid TOML|cannot be read): "):
        load(path, {})


def test_a_file_that_is_none_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path, tmp_path / "binary.toml", Path("/dev/zero")):
        with pytest.raises(UsageError, match="cannot be read"):
            load(path, {})


def test_what_is_usual_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text('[endpoint]\non = 1e-1\noff = 0.1\n[model]\nname = "./Müllers é"\nthreads = 3\n')
    config = load(path, {}, {"endpoint.hangover_ms": "500.0"}).config
    assert (config.endpoint.on, config.model.threads, config.endpoint.hangover_ms) == (0.1, 3, 500)
    assert config.model.name == "./Müllers é" and Config().model.name == "en-tiny"
