"""Where a command writes text: standard output, or files that appear when they are whole."""

from __future__ import annotations

import contextlib
import errno
import io
import sys
from collections.abc import Iterator
from pathlib import Path

from device_asr.console import drop_output, require_output
from device_asr.errors import OutputError, UsageError
from device_asr.events import Final
from device_asr.files import WholeFile
from device_asr.writers import make_writer


class Output:
    """The text of one audio file: to standard output, or to a file that appears when it is whole.

    Raises:
        OutputError: it cannot be written; also from `final` and `done`.
    """

    def __init__(self, format: str, path: Path | None, *, private: bool = True) -> None:
        self._writer, self._path = make_writer(format), path
        self._file: WholeFile | None = None
        if path is None:
            require_output()
        with self._failing():
            if path is not None:
                self._file = WholeFile(path, private=private)
            elif isinstance(sys.stdout, io.TextIOWrapper):
                sys.stdout.reconfigure(errors="replace")  # the encoding of a terminal or pipe may lack a character
            self._write(self._writer.header())

    def final(self, final: Final) -> None:
        """Appends an utterance."""
        with self._failing():
            self._write(self._writer.final(final))

    def done(self) -> None:
        """Puts the file in its place."""
        if self._file is not None:
            with self._failing():
                self._file.done()

    def abandon(self) -> None:
        """Takes a half-written file away."""
        if self._file is not None:
            self._file.abandon()

    def _write(self, text: str) -> None:
        if self._file is not None:
            self._file.write(text)
        else:
            sys.stdout.write(text)
            sys.stdout.flush()

    @contextlib.contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            raise
        except OSError as error:
            self.abandon()
            where = self._path or "standard output"
            if self._path is None:  # Python must not fail a second time when it flushes at exit
                drop_output()
            wanted = "free the disk or choose" if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else "choose"
            raise OutputError(
                f"{where}: could not be written ({error.strerror}); {wanted} another place with --out. "
                "No partial file was left."
            ) from None


def output_paths(files: tuple[str, ...], out: Path | None, format: str) -> list[Path | None]:
    """The path for the text of each file, None for standard output; several files need a folder.

    Raises:
        UsageError: several files with an --out that is no folder, or a text that would overwrite an audio file
            or another text.
    """
    paths = _output_paths(files, out, format)
    inputs = {Path(file).resolve() for file in files if file != "-"}
    for path in paths:
        if path is not None and path.resolve() in inputs:
            raise UsageError(f"--out: {path} is one of the recordings and would be overwritten; choose another name.")
    return paths


def _output_paths(files: tuple[str, ...], out: Path | None, format: str) -> list[Path | None]:
    if out is None:
        return [None] * len(files)
    if len(files) == 1 and not out.is_dir():
        if not out.parent.is_dir():
            raise UsageError(f"--out: the folder {out.parent} does not exist; make it first.")
        return [out]
    if not out.is_dir():
        raise UsageError(f"--out: wanted a folder for {len(files)} files, found {out}; make it first.")
    names = [f"{'stdin' if file == '-' else Path(file).stem}.{format}" for file in files]
    if len(set(names)) < len(names):
        raise UsageError(
            "--out: two of the files have the same name and would overwrite one another; transcribe them one by one."
        )
    return [out / name for name in names]
