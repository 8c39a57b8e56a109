"""`device-asr demo`: the interface over the shipped audio file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from device_asr.commands.parts.options import configured
from device_asr.errors import AudioError

if TYPE_CHECKING:
    from device_asr.config import LoadedConfig


def shipped_audio() -> Path:
    """`letter.flac` in the assets folder beside the package.

    Raises:
        AudioError: installed without it.
    """
    path = Path(__file__).resolve().parents[2] / "assets" / "letter.flac"
    if not path.exists():
        raise AudioError(
            f"The demonstration's audio {path} is not there: an installed package does not bring it; "
            "run from the repository, or play an audio file of yours with `device-asr --source FILE`."
        )
    return path


@click.command(name="demo")
@click.option("--record", is_flag=True, help="Keep the audio beside the text.")
@configured
def command(record: bool, loaded: LoadedConfig) -> None:
    """Play the shipped letter through the interface, in real time."""
    from device_asr.commands.live import recorded, run

    run(recorded(loaded.config, record), shipped_audio())
