"""The utterance in progress, and the pieces of the screen, without a terminal."""

from __future__ import annotations

from device_asr.events import Partial
from device_asr.tui.moving import Moving
from device_asr.tui.pages import pages


class TestMoving:
    """The utterance in progress on the screen."""

    def shown(self, *partials: tuple[str, str]) -> list[tuple[str, str]]:
        moving = Moving()
        return [moving.show(Partial(0, text, committed, 0, 1, 1)) for text, committed in partials]

    def test_committed_words_are_never_drawn_dim_again(self) -> None:
        shown = self.shown(
            ("I read it", ""),
            ("I read it on", "I read it"),
            ("I read it on", "I read"),
            ("I red it on the", "I read it"),
        )
        assert [bright for bright, _ in shown] == ["", "I read it", "I read it", "I read it"]
        assert shown[-1] == ("I read it", " on the")

    def test_a_tail_that_is_lost_and_found_again_does_not_move(self) -> None:
        shown = self.shown(
            ("I read it on the train", "I"), ("I read it on", "I read"), ("I read it on the train this", "I read it")
        )
        assert ["".join(parts) for parts in shown] == [
            "I read it on the train",
            "I read it on the train",
            "I read it on the train this",
        ]

    def test_a_tail_that_stays_away_goes(self) -> None:
        shown = self.shown(("Two words more", ""), ("Two words", ""), ("Two words", "Two"))
        assert ["".join(parts) for parts in shown] == ["Two words more", "Two words more", "Two words"]

    def test_a_tail_that_says_something_else_changes_at_once(self) -> None:
        assert self.shown(("I red", ""), ("I read", ""))[-1] == ("", "I read")

    def test_another_utterance_begins_anew_and_asking_again_changes_nothing(self) -> None:
        moving = Moving()
        moving.show(Partial(0, "First words here", "First", 0, 1, 1))
        second = Partial(1, "First", "", 2, 3, 3)
        assert moving.show(second) == moving.show(second) == ("", "First")
        assert moving.show(None) == ("", "")


def test_pages_hold_whole_paragraphs_and_cut_only_a_very_long_one() -> None:
    assert list(pages([[0, 1], [2], [3, 4]], 3)) == [[[0, 1], [2]], [[3, 4]]]
    assert list(pages([[0], [1, 2, 3, 4, 5]], 2)) == [[[0]], [[1, 2]], [[3, 4]], [[5]]]
    assert list(pages([], 2)) == []
