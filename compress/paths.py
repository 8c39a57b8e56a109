"""Where the files of this package and of the repository are."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
RECIPES = PACKAGE / "recipes"
ABLATION = RECIPES / "ablation"
DEVICES = PACKAGE / "devices"
LETTER = PACKAGE.parent / "assets" / "letter.flac"
