"""`device-asr models`: lists, shows, verifies and adds models."""

from __future__ import annotations

import json
from pathlib import Path

import click

from device_asr.console import echo


@click.group(name="models")
def command() -> None:
    """List, show, verify and add models."""


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="As a JSON list.")
def list_models(as_json: bool) -> None:
    """List every model that is found, and the folders that are searched."""
    from device_asr.bundle.bundle import find_bundles, load, search_path
    from device_asr.errors import BundleError

    rows = []
    for path in find_bundles():
        try:
            bundle = load(path, verify=False)
            rows.append(
                {
                    "name": bundle.name,
                    "path": str(path),
                    "megabytes": round(bundle.size / 1e6, 1),
                    "parameters": bundle.manifest.get("parameters"),
                    "problem": None,
                }
            )
        except BundleError as error:
            rows.append({"name": path.name, "path": str(path), "problem": str(error)})
    if as_json:
        echo(json.dumps(rows))
        return
    for row in rows:
        echo(row["problem"] or f"{row['name']:<16} {row['megabytes']:>6} MB  {row['path']}")
    found = "Looked for in" if rows else "No model found in"
    echo(f"{found}: {', '.join(map(str, search_path()))}", err=True)


@command.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="The whole manifest.")
def show(name: str, as_json: bool) -> None:
    """Show a model: sizes, methods, what runs it, features that it lacks, provenance, licenses."""
    from device_asr.bundle.bundle import load
    from device_asr.bundle.features import absent
    from device_asr.runtime.session import runtime

    bundle = load(name, verify=False)
    manifest = bundle.manifest
    if as_json:
        echo(json.dumps(manifest))
        return
    echo(f"{bundle.name}: {manifest.get('description', '')}")
    echo(f"{bundle.path}, {bundle.size / 1e6:.1f} MB, {manifest.get('parameters', 0) / 1e6:.1f} M parameters")
    for program, entry in manifest["programs"].items():
        for method, signature in entry["methods"].items():
            echo(f"  {program}.{method}: {len(signature['inputs'])} inputs, {len(signature['outputs'])} outputs")
    echo(f"  runtime: {runtime()}")
    for sentence in absent(manifest):
        echo(f"  {sentence}")
    for step in manifest.get("provenance", ()):
        echo(f"  from: {step}")
    for license in manifest.get("licenses", ()):
        echo(f"  license: {license['part']}: {license['license']} ({license['from']})")


@command.command()
@click.argument("name")
def verify(name: str) -> None:
    """Check every file's size and sha256, and that the programs load."""
    from device_asr.bundle.bundle import load
    from device_asr.commands.parts.loading import check_program

    bundle = load(name)
    for program in bundle.manifest["programs"]:
        check_program(bundle.path, program)
    echo(f"{bundle.name}: {len(bundle.manifest['files'])} files are whole, the programs load.")


@command.command()
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--replace", is_flag=True, help="Put it in the place of a model of the same name.")
def add(path: Path, replace: bool) -> None:
    """Copy a model into your own models: its folder, or a .tar.gz archive of the folder."""
    from device_asr.bundle.adding import add_bundle

    added = add_bundle(path, replace)
    echo(f"{added.name} was added: {added}. `device-asr --model {added.name}` uses it.")
