"""`device-asr config`: the effective settings, and a commented file to start from."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from device_asr.commands.parts.options import configured
from device_asr.console import echo
from device_asr.errors import OutputError
from device_asr.files import write_whole

if TYPE_CHECKING:
    from device_asr.config import LoadedConfig


COLUMNS = 100  # of the sentences in the commented file


def commented_file() -> str:
    """A TOML file with every setting at its default, commented out, with unit and range."""
    from device_asr.config import describe

    lines, section = ["# Settings of device-asr with their defaults. To change one, take away the # before it."], ""
    for setting in describe():
        head, name = setting.key.split(".")
        if head != section:
            lines += ["", f"[{head}]"]
            section = head
        else:
            lines.append("")
        unit = f" {setting.unit}" if setting.unit else ""
        limits = f" ({setting.low:g} to {setting.high:g}{unit})" if setting.low is not None else ""
        limits = f" (one of {', '.join(setting.choices)})" if setting.choices else limits
        lines += textwrap.wrap(f"{setting.help}{limits}", COLUMNS, initial_indent="# ", subsequent_indent="# ")
        lines.append(f"# {name} = {_toml(setting.default)}")
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    if value is None:
        return '""'
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {json.dumps(own)}" for key, own in value.items()) + "}"
    return json.dumps(list(value) if isinstance(value, tuple) else value)


def write_commented_file(path: Path) -> None:
    """Writes the commented file, whole or not at all.

    Raises:
        OutputError: there is one already, or it cannot be written.
    """
    if path.exists():
        raise OutputError(f"{path} exists already and was left alone; move it away to start anew.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, commented_file())
    except OSError as error:
        raise OutputError(f"{path} could not be written: {error.strerror}.") from None


def _init(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    """Writes the file before any settings are read, as the file need not exist yet."""
    if not wanted or ctx.resilient_parsing:
        return
    from device_asr.config import config_path

    named = ctx.params.get("config_file")
    path = Path(named) if named else config_path()
    write_commented_file(path)
    echo(path)
    ctx.exit()


@click.command(name="config")
@click.option(
    "--init",
    is_flag=True,
    expose_value=False,
    callback=_init,
    help="Write a commented file at the usual place, or at that of --config.",
)
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
@configured
def command(loaded: LoadedConfig, as_json: bool) -> None:
    """Show every setting with its value and where it came from."""
    from device_asr.tui.keys import keymap

    keymap(loaded.config.interface.keys)  # reports a mistake here too, not only when the interface starts
    values = {key: getattr(getattr(loaded.config, key.split(".")[0]), key.split(".")[1]) for key in loaded.origins}
    if as_json:
        echo(json.dumps({key: {"value": values[key], "from": loaded.origins[key]} for key in sorted(values)}))
        return
    width = max(map(len, values))
    for key in sorted(values):
        echo(f"{key:<{width}}  {_toml(values[key]):<12}  {loaded.origins[key]}")
