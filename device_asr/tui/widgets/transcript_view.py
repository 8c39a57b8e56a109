"""The transcript on the screen: finals in paragraphs, the moving partial dim, a line to choose."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.geometry import Region
from textual.message import Message
from textual.widgets import Static

from device_asr.dictation.transcript import Transcript
from device_asr.events import Event
from device_asr.tui.moving import Moving
from device_asr.tui.pages import PAGE, pages

HINT = "Say something: words appear here."
PAUSE = Content("\n\n")  # between paragraphs
NEAR = 3  # pages from the end that a window may show: 90 utterances are more than its lines


def forget_rectangles() -> None:
    """Empties the toolkit's caches of geometry: up to 4096 entries each, and every line of text makes new ones."""
    for method in vars(Region).values():
        if hasattr(method, "cache_clear"):
            method.cache_clear()


class Page(Static):
    """Some paragraphs: utterances that follow one another without a long pause."""


class TranscriptView(VerticalScroll, can_focus=True):
    """Shows `transcript`; follows the newest text until the person scrolls up."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("shift+up", "choose(-1)", "Line above", show=False),
        Binding("shift+down", "choose(1)", "Line below", show=False),
        Binding("enter", "edit", "Edit line", show=False),
        Binding("escape", "choose(0)", "No line", show=False),
    ]

    class EditWanted(Message):
        """The person wants to change line `index`."""

        def __init__(self, index: int) -> None:
            super().__init__()
            self.index = index

    def __init__(self, transcript: Transcript, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.transcript = transcript
        self.chosen: int | None = None
        self._shown: list[Content] = []
        self._finished: dict[int, tuple[tuple[object, ...], Content]] = {}  # by the first line of a page
        self._pages: list[Page] = []
        self._light = 0  # so many pages, from the first on, hold no drawing
        self._moving = Moving()
        self._sheet = Vertical(id="sheet")  # as high as the view at least, so that a short text begins at the top

    def compose(self) -> ComposeResult:
        yield self._sheet

    def on_mount(self) -> None:
        self.anchor()  # until the person scrolls up; at the end again it goes on
        self.redraw()

    def add(self, event: Event) -> None:
        """Takes an event and shows the change."""
        self.transcript.add(event)
        self.redraw()

    def restart(self, transcript: Transcript) -> None:
        """Shows another transcript."""
        self.transcript, self.chosen = transcript, None
        self._finished.clear()
        self._light = 0
        self.redraw()

    def action_choose(self, step: int) -> None:
        count = len(self.transcript.lines)
        if step == 0 or not count:
            self.chosen = None
        elif self.chosen is None:
            self.chosen = count - 1
        else:
            self.chosen = min(count - 1, max(0, self.chosen + step))
        self.redraw()
        if self.chosen is not None:
            self._scroll_to_line(self.chosen)

    def chosen_text(self) -> str:
        """The text of the chosen line; empty where none is chosen."""
        return self.transcript.lines[self.chosen].text if self.chosen is not None else ""

    def _scroll_to_line(self, index: int) -> None:
        for widget, page in zip(self._pages, pages(self.transcript.paragraphs(), PAGE), strict=False):
            if index <= page[-1][-1]:
                width = widget.content_size.width
                above = [[i for i in block if i < index] for block in page if block[0] < index]
                upto = [[i for i in block if i <= index] for block in page if block[0] <= index]
                top = self._joined(above).get_height({}, width) if above else 0
                bottom = self._joined(upto).get_height({}, width)
                top = min(top, bottom - 1)
                y = widget.virtual_region.y + top
                self.scroll_to_region(Region(0, y, width, bottom - top), animate=False)
                return

    def action_edit(self) -> None:
        if self.transcript.lines:
            index = self.chosen if self.chosen is not None else len(self.transcript.lines) - 1
            self.post_message(self.EditWanted(index))

    def redraw(self) -> None:
        """Brings the pages up to date; only pages that changed are drawn."""
        if not self.is_attached:
            return  # the screen is being taken down; the text is kept all the same
        wanted = self._contents()
        shown = self._shown
        for number, content in enumerate(wanted):
            if number >= len(self._pages):
                self._pages.append(Page(content))
                self._sheet.mount(self._pages[-1])
                self._lighten(wanted)
            elif shown[number] is not content and not shown[number].is_same(content):  # `==` is of the text alone
                self._pages[number].update(content)
        for page in self._pages[len(wanted) :]:
            page.remove()
        del self._pages[len(wanted) :]
        self._shown = wanted

    def _lighten(self, contents: list[Content]) -> None:
        """Replaces pages far above by fresh ones, which frees their drawing and layout: 5 kB an utterance."""
        forget_rectangles()
        if not self.is_vertical_scroll_end:
            return  # they may be read now; the next page begins soon
        with self.app.batch_update():
            for number in range(self._light, len(self._pages) - NEAR):
                fresh = Page(contents[number])
                self._sheet.mount(fresh, before=self._pages[number])
                self._pages[number].remove()
                self._pages[number] = fresh
                self._light = number + 1

    def _contents(self) -> list[Content]:
        transcript, partial = self.transcript, self.transcript.partial
        committed, tail = self._moving.show(partial)
        contents = [self._page(page) for page in pages(transcript.paragraphs(), PAGE)]
        if partial is not None and committed + tail:
            moving = Content.assemble((committed, "bold"), (tail, "dim italic"))
            begins = transcript.begins_paragraph(partial.start, len(transcript.lines))
            contents[-1:] = [(PAUSE if begins else Content(" ")).join([*contents[-1:], moving])]
        return contents or [Content.styled(HINT, "dim")]

    def _page(self, page: list[list[int]]) -> Content:
        """The finished lines of a page; a day's text is not put together anew for every Partial."""
        first, last = page[0][0], page[-1][-1]
        chosen = self.chosen if self.chosen is not None and first <= self.chosen <= last else None
        key = (*self.transcript.lines[first : last + 1], chosen)
        kept = self._finished.get(first)
        if kept is None or kept[0] != key:
            kept = self._finished[first] = key, self._joined(page)
        return kept[1]

    def _joined(self, blocks: list[list[int]]) -> Content:
        lines = self.transcript.lines
        paragraphs = [[self._line(i) for i in block if lines[i].text or i == self.chosen] for block in blocks]
        return PAUSE.join([Content(" ").join(paragraph) for paragraph in paragraphs if paragraph])

    def _line(self, index: int) -> Content:
        text = self.transcript.lines[index].text or "(taken out)"
        return Content.styled(text, "bold reverse" if index == self.chosen else "bold")
