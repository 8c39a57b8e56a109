"""The device picker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Label, OptionList
from textual.widgets.option_list import Option

from device_asr.audio.devices import Device


class DeviceScreen(ModalScreen[str | None]):
    """Gives the index of the chosen device, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [("escape", "dismiss", "Close")]

    def __init__(self, devices: Sequence[Device]) -> None:
        super().__init__()
        self._devices = devices

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Label("Microphone: enter chooses, escape leaves it as it is")
            yield OptionList(*(Option(_describe(d), id=str(d.index)) for d in self._devices), markup=False)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(event.option_id)


def _describe(device: Device) -> str:
    return f"{device.index}  {device.name}  {device.rate / 1000:g} kHz{'  (default)' if device.default else ''}"
