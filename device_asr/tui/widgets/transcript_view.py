"""The transcript on the screen: finals in paragraphs, the moving partial dim, a line to choose."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from device_asr.events import Event
from device_asr.transcript import Transcript
from device_asr.tui.moving import Moving

HINT = "Say something: words appear here."


class Paragraph(Static):
    """Phrases that follow one another without a long pause."""


class TranscriptView(VerticalScroll, can_focus=True):
    """Shows `transcript`; follows the newest text until the person scrolls up."""

    BINDINGS = [  # noqa: RUF012
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

    def __init__(self, transcript: Transcript, **kwargs: str) -> None:
        super().__init__(**kwargs)
        self.transcript = transcript
        self.chosen: int | None = None
        self._shown: list[Content] = []
        self._moving = Moving()
        self._page = Vertical(id="page")  # as high as the view at least, so that a short text begins at the top

    def compose(self) -> ComposeResult:
        yield self._page

    def on_mount(self) -> None:
        self.anchor()  # until the person scrolls up; at the end again it goes on
        self.redraw()

    def add(self, event: Event) -> None:
        """Takes an event and shows what changed."""
        self.transcript.add(event)
        self.redraw()

    def restart(self, transcript: Transcript) -> None:
        """Shows another transcript."""
        self.transcript, self.chosen = transcript, None
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
            for block, lines in enumerate(self.transcript.paragraphs()):
                if self.chosen in lines:
                    self.scroll_to_widget(list(self.query(Paragraph))[block], animate=False)

    def action_edit(self) -> None:
        if self.transcript.lines:
            index = self.chosen if self.chosen is not None else len(self.transcript.lines) - 1
            self.post_message(self.EditWanted(index))

    def redraw(self) -> None:
        """Brings the paragraphs up to date; only those that changed are drawn."""
        if not self.is_attached:
            return  # the screen is being taken down; the text is kept all the same
        wanted = self._contents()
        paragraphs = list(self.query(Paragraph))
        for number, content in enumerate(wanted):
            if number >= len(paragraphs):
                self._page.mount(Paragraph(content))
            elif number >= len(self._shown) or not self._shown[number].is_same(content):  # `==` is of text alone
                paragraphs[number].update(content)
        for paragraph in paragraphs[len(wanted):]:
            paragraph.remove()
        self._shown = wanted

    def _contents(self) -> list[Content]:
        transcript, partial = self.transcript, self.transcript.partial
        committed, tail = self._moving.show(partial)
        blocks = [[self._line(i) for i in block if transcript.lines[i].text or i == self.chosen]
                  for block in transcript.paragraphs()]
        if partial is not None and committed + tail:
            moving = Content.assemble((committed, "bold"), (tail, "dim italic"))
            if transcript.begins_paragraph(partial.start, len(transcript.lines)):
                blocks.append([])
            blocks[-1].append(moving)
        contents = [Content(" ").join(block) for block in blocks]
        return contents or [Content.styled(HINT, "dim")]

    def _line(self, index: int) -> Content:
        text = self.transcript.lines[index].text or "(taken out)"
        return Content.styled(text, "bold reverse" if index == self.chosen else "bold")
