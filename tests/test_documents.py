"""Holds the documents: their length, their links, and the commands that they name."""

from __future__ import annotations

import json
import re
from pathlib import Path

import click
import pytest

import compress.cli
import device_asr.cli
from compress.recipe.card import write_card
from device_asr.config import describe
from tests.support.paths import MODEL, ROOT

PROGRAMS = {"device-asr": device_asr.cli.group, "device-asr-compress": compress.cli.group}
README_LINES = 130


def documents() -> list[Path]:
    """Every document that people read: those in the repository's root, in .github, the packages and the models."""
    folders = ("device_asr", "compress", "models", ".github")
    return [*ROOT.glob("*.md"), *(path for folder in folders for path in sorted((ROOT / folder).rglob("*.md")))]


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def code(text: str) -> list[str]:
    """Lines of the fenced blocks, continued ones joined, and the spans in backquotes."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    prose = re.sub(r"^```\w*\n.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    return lines + [span.replace("\n", " ") for span in re.findall(r"`([^`]+)`", prose)]


def commands(text: str) -> list[list[str]]:
    """The words of each call of one of the programs, from the program's name to the end of the call."""
    found = []
    for line in code(text):
        line = re.sub(r"'[^']*'", "QUOTED", re.sub(r"(?<!\S)#.*", "", line))
        for words in map(str.split, re.split(r"&&|[|;(]", line)):
            starts = [i for i, word in enumerate(words) if word.removeprefix(".venv/bin/") in PROGRAMS]
            if starts:
                first, *rest = words[starts[0] :]
                found.append([first.removeprefix(".venv/bin/"), *rest])
    return found


def problems(call: list[str]) -> list[str]:
    """The verb or the long options of one call that the program does not have."""
    command: click.Command = PROGRAMS[call[0]]
    known = _options(command)
    words = call[1:]
    if call[0] == "device-asr" and (not words or words[0].startswith("-")):
        words = ["live", *words]  # without a verb: the interface
    for word in words:
        if isinstance(command, click.Group) and re.fullmatch(r"[a-z][a-z-]*", word):
            inner = command.get_command(click.Context(command), word)
            if inner is None:
                return [f"no verb {word!r} in {' '.join(call)!r}"]
            command = inner
            known |= _options(command)
    options = {word.split("=")[0] for word in words if re.match(r"--[a-z]", word)}
    return [f"no option {option} in {' '.join(call)!r}" for option in sorted(options - known)]


def _options(command: click.Command) -> set[str]:
    return {name for option in command.params for name in (*option.opts, *option.secondary_opts)} | {"--help"}


def anchors(path: Path) -> set[str]:
    """What a link may name behind `#`: each heading, as GitHub writes it."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", documents(), ids=_name)
def test_every_relative_link_leads_to_a_file_and_to_a_heading_in_it(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    wrong = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        if not target.exists() or (anchor and anchor not in anchors(target)):
            wrong.append(link)
    assert not wrong


@pytest.mark.parametrize("path", documents(), ids=_name)
def test_every_file_that_is_named_exists(path: Path) -> None:
    spans = re.findall(r"`([\w./-]+/[\w.-]+\.(?:py|toml|safetensors|pte))`", path.read_text(encoding="utf-8"))
    assert not [span for span in spans if not (ROOT / span).exists() and not (path.parent / span).exists()]


@pytest.mark.parametrize("path", documents(), ids=_name)
def test_every_command_has_the_verbs_and_options_that_are_written(path: Path) -> None:
    assert not [wrong for call in commands(path.read_text(encoding="utf-8")) for wrong in problems(call)]


@pytest.mark.parametrize("path", [path for path in documents() if path.name != "CHANGELOG.md"], ids=_name)
def test_every_setting_that_is_named_exists(path: Path) -> None:
    known = {setting.key for setting in describe()}
    sections = "|".join({key.split(".")[0] for key in known})
    words = [word.partition("=")[0] for line in code(path.read_text(encoding="utf-8")) for word in line.split()]
    named = {word for word in words if re.fullmatch(rf"(?:{sections})\.(?!pte|bin|py)[a-z_]+", word)}
    modules = {word for word in named if (ROOT / "device_asr" / f"{word.replace('.', '/')}.py").exists()}
    assert named - modules <= known


@pytest.mark.parametrize("path", documents(), ids=_name)
def test_no_document_names_a_folder_that_the_reader_does_not_have(path: Path) -> None:
    assert "../shared" not in path.read_text(encoding="utf-8")


def test_the_card_of_the_shipped_model_is_of_its_manifest(tmp_path: Path) -> None:
    card = (MODEL / "CARD.md").read_text(encoding="utf-8")
    manifest = json.loads((MODEL / "manifest.json").read_text(encoding="utf-8"))
    write_card(tmp_path / "CARD.md", manifest, card)
    assert (tmp_path / "CARD.md").read_text(encoding="utf-8") == card


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= README_LINES


def test_wrong_commands_and_links_are_found(tmp_path: Path) -> None:
    block = "```sh\n.venv/bin/device-asr bench a.jsonl --no-such x \\\n  --json | device-asr no-such\n```\n"
    text = block + "`device-asr --record`"
    assert [wrong for call in commands(text) for wrong in problems(call)] == [
        "no option --no-such in 'device-asr bench a.jsonl --no-such x --json'",
        "no verb 'no-such' in 'device-asr no-such'",
    ]
    (tmp_path / "a.md").write_text("# Chunk sweep: size, and `context`\n")
    assert anchors(tmp_path / "a.md") == {"chunk-sweep-size-and-context"}
