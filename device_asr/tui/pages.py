"""Finished lines, divided into the pieces of the screen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

# Laying out 1000 widgets took 200 ms for each Partial, one of 30 utterances takes 10 ms to wrap anew.
PAGE = 30  # utterances


def pages(paragraphs: Sequence[list[int]], longest: int) -> Iterator[list[list[int]]]:
    """Paragraphs (indices of lines) in pieces of up to `longest` lines; a longer paragraph is cut."""
    page: list[list[int]] = []
    lines = 0
    for whole in paragraphs:
        for at in range(0, len(whole), longest):
            paragraph = whole[at : at + longest]
            if page and lines + len(paragraph) > longest:
                yield page
                page, lines = [], 0
            page.append(paragraph)
            lines += len(paragraph)
    if page:
        yield page
