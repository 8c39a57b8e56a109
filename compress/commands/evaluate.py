"""`device-asr-compress evaluate`: a model's fp32 text of every clip."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import click

from compress.checkpoints.load import load_checkpoint
from compress.commands import options
from compress.evaluate.accuracy import ctc_texts, texts
from compress.networks.chunking import Chunking
from device_asr.console import echo
from device_asr.metrics.clips import read_manifest
from device_asr.metrics.wer import word_errors

FORMER_NAME, TEACHER = "teacher", "tiny.en"


@dataclass(frozen=True)
class Options:
    """The options of the verb; their meaning is in its help."""

    model: str
    manifest: Path
    as_json: bool
    short_context: bool
    chunks: Chunking | None
    ctc: bool
    wer: bool
    limit: int | None


def read_chunking(_context: click.Context, _parameter: click.Parameter, value: str | None) -> Chunking | None:
    """The chunking of "16,250,2".

    Raises:
        click.BadParameter: the value is not three whole numbers. UsageError: see `Chunking`.
    """
    if value is None:
        return None
    try:
        size, left_context, look_ahead = map(int, value.split(","))
    except ValueError:
        raise click.BadParameter(f"wanted three whole numbers such as 16,250,2, found {value!r}.") from None
    return Chunking(size, left_context, look_ahead)


@click.command("evaluate")
@click.argument("model")
@click.argument("manifest", type=click.Path(path_type=Path))
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help='Print one {"audio", "text"} a clip; audio is relative to the manifest\'s folder.',
)
@click.option("--short-context", is_flag=True, help="Do not pad clips, Whisper's neither.")
@click.option(
    "--chunks",
    metavar="SIZE,LEFT_CONTEXT,LOOK_AHEAD",
    callback=read_chunking,
    help="Encode in chunks of SIZE positions (of 20 ms in Whisper, 24 ms in Moonshine), which attend to LEFT_CONTEXT "
    "positions before themselves and LOOK_AHEAD chunks after; clips are not padded.",
)
@click.option("--ctc", is_flag=True, help="The text of the CTC head, not of the decoder.")
@click.option("--wer", is_flag=True, help="Print the word errors of all clips as one JSON object instead.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N clips.")
@options.takes(Options)
def command(given: Options) -> None:
    """Print the fp32 text that MODEL gives each clip of MANIFEST: greedy, without guards, in the context
    of its family's teachers: Whisper's clips are padded to 30 s, Moonshine's are not padded.

    MODEL is tiny.en, moonshine-base, a folder of CTranslate2, Hugging Face or ONNX Runtime, an OpenAI .pt, or a
    bundle's base.
    """
    checkpoint = load_checkpoint(TEACHER if given.model == FORMER_NAME else given.model)
    clips = read_manifest(given.manifest)[: given.limit]
    if given.ctc:
        found = ctc_texts(checkpoint, clips, given.chunks)
    else:
        padded = not given.short_context and given.chunks is None
        found = texts(checkpoint, clips, padded, given.chunks)
    if given.wer:
        errors = word_errors([(clip.text or "", text) for clip, text in found])
        echo(json.dumps(errors.record()))
        return
    for clip, text in found:
        name = os.path.relpath(clip.audio, given.manifest.parent)
        echo(json.dumps({"audio": name, "text": text}) if given.as_json else f"{name}\t{text}")
