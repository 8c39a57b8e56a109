"""Reference correction: a corpus's own words with the teacher's capitals and punctuation.

Speech corpora give words in lower case; the teacher writes sentences, but gets words wrong. The words are
taken from the corpus and everything else from the teacher, wherever the two can be aligned.
"""

from __future__ import annotations

import difflib
import re

from device_asr.metrics.wer import normalize, word_errors

MOST_WER = 0.75  # between the two texts: more, and there is too little to align
_EDGE = re.compile(r"^([^\w]*)(.*?)([^\w]*)$", re.DOTALL)


def corrected(written: str, given: str) -> str | None:
    """The given words as the teacher writes them; None where they are another sentence than the teacher's.

    Words on which both agree keep the teacher's form, and so do runs of words that are equal when they
    are normalized (numbers, titles, contractions) or joined ("to day", "today"). Other words are the given
    ones, with the punctuation around and the first capital of the words that they replace. A given text with
    capitals is taken whole.
    """
    rate = word_errors([(given, written)]).wer
    if rate is None or rate > MOST_WER:
        return None
    if given != given.lower():  # written as sentences already
        return given
    if rate == 0.0:
        return written
    old_words, new_words = written.split(), given.split()
    out: list[str] = []
    matcher = difflib.SequenceMatcher(
        None, [_plain(word) for word in old_words], [_plain(word) for word in new_words], False
    )
    for kind, i, k, m, n in matcher.get_opcodes():
        old, new = old_words[i:k], new_words[m:n]
        if kind == "equal" or _same(old, new):
            out += old
        elif new:
            out += _dressed(old, new)
        elif old and out:  # only the teacher has them: their closing punctuation stays, unless there is some already
            tail = _edges(old[-1])[2]
            out[-1] += tail if tail and not _edges(out[-1])[2] else ""
    text = " ".join(out)
    return text[:1].upper() + text[1:] if written[:1].isupper() else text


def _plain(word: str) -> str:
    return "".join(c for c in word.lower() if c.isalnum() or c == "'").strip("'")


def _edges(word: str) -> tuple[str, str, str]:
    match = _EDGE.match(word)
    assert match is not None  # every group may be empty
    return match.group(1), match.group(2), match.group(3)


def _same(old: list[str], new: list[str]) -> bool:
    if not old or not new:
        return False
    if "".join(map(_plain, old)) == "".join(map(_plain, new)):
        return True
    return normalize(" ".join(old)) == normalize(" ".join(new))


def _dressed(old: list[str], new: list[str]) -> list[str]:
    """The given words with the punctuation around and the first capital of the words that they replace."""
    words = ["I" + word[1:] if re.match(r"i('|$)", word) else word for word in new]
    if not old:
        return words
    before, first, _ = _edges(old[0])
    starts = first[:1].isupper() and not first.startswith(("I'", "I ")) and first != "I"
    words[0] = before + (words[0][:1].upper() + words[0][1:] if starts else words[0])
    words[-1] += _edges(old[-1])[2]
    return words
