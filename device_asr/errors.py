"""The errors that a person may see: one sentence says what was wanted, what was found, and what to do next."""

from __future__ import annotations

from device_asr.printable import printable


class DeviceAsrError(Exception):
    """A failure that is reported in one sentence, without a traceback; the process exits with `exit_code`.

    Control characters of names in the sentence become escapes: it is printed on terminals.
    """

    exit_code = 1

    def __init__(self, message: str = "") -> None:
        super().__init__(printable(message))


class UsageError(DeviceAsrError):
    """The command was called wrongly (a bad option, an unknown key, a missing argument)."""

    exit_code = 2


class AudioError(DeviceAsrError):
    """An audio file could not be read, or holds nothing that can be transcribed."""


class DeviceError(AudioError):
    """A capture device is missing, busy, or refuses the format."""


class BundleError(DeviceAsrError):
    """A model bundle is missing, damaged, incomplete, or of a newer format."""


class OutputError(DeviceAsrError):
    """A result could not be written (disk full, no permission)."""
