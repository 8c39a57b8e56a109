"""The transcript: utterances flow into paragraphs, edits go before recognized text."""

from __future__ import annotations

from device_asr.dictation.transcript import Transcript, export
from device_asr.events import Partial, SpeechEnded
from tests.support.finals import final


def transcript() -> Transcript:
    made = Transcript()
    for event in (final("Dear Priya.", 0, 1), final("Thank you.", 3.0, 4), final("Goodbye.", 6.1, 7)):
        made.add(event)
    return made


def test_a_pause_of_more_than_two_seconds_begins_a_paragraph() -> None:
    assert transcript().paragraphs() == [[0, 1], [2]]
    assert transcript().text() == "Dear Priya. Thank you.\n\nGoodbye."


def test_a_partial_is_replaced_by_its_final_and_taken_back_where_none_comes() -> None:
    made = Transcript()
    made.add(Partial(0, "dear", "", 0, 1, 1))
    assert made.partial is not None
    made.add(final("Dear Priya.", 0, 1))
    assert made.partial is None and made.words == 2
    made.add(Partial(1, "hm", "", 2, 3, 3))
    made.add(SpeechEnded(1, 3.0))
    assert made.partial is None and made.words == 2


def test_an_edited_line_is_saved_as_edited_in_every_format() -> None:
    made = transcript()
    made.edit(1, " Thank you so much. ")
    for format in ("txt", "srt", "vtt", "jsonl"):
        saved = export(made.lines, format)
        assert "Thank you so much." in saved and "Thank you.\n" not in saved
        assert "Dear Priya." in saved
    assert made.words == 7 == Transcript(lines=made.lines).words
    assert export(made.lines, "vtt").startswith("WEBVTT")


def test_a_line_edited_to_nothing_is_left_out() -> None:
    made = transcript()
    made.edit(2, "")
    assert export(made.lines, "txt") == "Dear Priya.\nThank you.\n"
    assert made.text() == "Dear Priya. Thank you."
