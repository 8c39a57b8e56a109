"""One open PortAudio stream writing into its ring."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np

from device_asr.audio import devices
from device_asr.audio.devices import Device
from device_asr.audio.format import SAMPLE_RATE, STEP_S
from device_asr.audio.ring import Ring
from device_asr.config import AudioConfig
from device_asr.errors import DeviceError
from device_asr.events import Seconds

# The buffer that the host is asked for: audio that survives while the callback cannot run. ExecuTorch's
# binding holds Python's global lock for the length of a method (0.25 s for 30 s of audio), and with it every
# callback. A sound server keeps the audio itself (no loss with 0.3 s blocks at 0.064 s); hardware keeps as
# much as is asked here.
BUFFER_SERVER: Seconds = 0.064  # 0.2 s delays ALSA's pulse plugin by 50 ms
BUFFER_HARDWARE: Seconds = 0.5
MANY_CHANNELS = 8  # a "device" with more is a sound server (ALSA's pulse: 32), which mixes by itself
# The age of a block as PortAudio reports it was right within one block on PulseAudio, also for audio that
# had waited 1.7 s; beyond this it is a driver's mistake.
OLDEST_BLOCK: Seconds = 30.0
CLOSE_TIMEOUT: Seconds = 2.0


class Capture:
    """A running stream: `device`, `rate` in Hz, `ring`; sets `wake` whenever audio or the end arrives.

    callbacks: their count.
    ended: no more audio will come, because the stream died or was closed; `reason` says which.

    Raises:
        DeviceError: the device cannot be opened at 16 kHz nor at its own rate.
    """

    def __init__(self, device: Device, config: AudioConfig, wake: threading.Event) -> None:
        self.device = device
        self.paused = False
        self.callbacks = 0
        self.ended = False
        self.reason = "unplugged"
        self._wake = wake
        self._closer: threading.Thread | None = None
        self._last_captured: float | None = None
        self._channel = config.channel - 1
        if config.channel > device.channels:
            raise DeviceError(
                f"{device.name!r} has {device.channels} channels, wanted audio.channel = "
                f"{config.channel}; choose 1 to {device.channels}, or 0 to mix all."
            )
        sd = devices.portaudio()
        failures: list[str] = []
        for rate, channels in self._formats(config):
            self.rate = rate
            self.ring = Ring(config.ring_s, rate)
            self._mixed = np.zeros(4 * int(rate * STEP_S), np.float32)
            try:
                self._stream = self._open(sd, rate, channels)
                return
            except sd.PortAudioError as error:
                failures.append(f"{rate} Hz, {channels} channels: {error.args[0]}")
        raise DeviceError(
            f"The microphone {device.name!r} could not be opened ({'; '.join(failures)}); "
            "is it in use by another program? `device-asr devices` lists others."
        )

    def _formats(self, config: AudioConfig) -> list[tuple[int, int]]:
        if config.channel:
            channels = [config.channel]
        elif self.device.channels > MANY_CHANNELS:
            channels = [1]
        else:
            channels = [self.device.channels] if self.device.channels == 1 else [self.device.channels, 1]
        rates = dict.fromkeys((SAMPLE_RATE, self.device.rate))
        return [(rate, n) for rate in rates for n in channels]

    def _buffer(self) -> Seconds | str:
        if self.device.host != "ALSA":
            return "high"  # elsewhere a larger buffer delays the callback
        return BUFFER_SERVER if self.device.channels > MANY_CHANNELS else BUFFER_HARDWARE

    def _open(self, sd: Any, rate: int, channels: int) -> Any:
        stream = sd.InputStream(
            device=self.device.index,
            samplerate=rate,
            channels=channels,
            dtype="float32",
            blocksize=int(rate * STEP_S),
            latency=self._buffer(),
            callback=self._callback,
            finished_callback=self.end,
        )
        try:
            stream.start()
        except BaseException:
            stream.close()
            raise
        return stream

    def _callback(self, block: np.ndarray, frames: int, timing: Any, status: Any) -> None:
        """Runs on PortAudio's thread: copies and returns."""
        age = timing.currentTime - timing.inputBufferAdcTime - frames / self.rate
        captured = time.monotonic() - (age if 0 < age < OLDEST_BLOCK else 0)
        if not self.paused:
            if status.input_overflow:
                self._lose(captured, frames)
            if self._channel >= 0:
                pcm = block[:, self._channel]
            elif block.shape[1] == 1:
                pcm = block[:, 0]
            else:
                pcm = self._mixed[:frames]
                np.mean(block, axis=1, out=pcm)
            self.ring.write(pcm, captured)
        self._last_captured = captured
        self._wake.set()
        self.callbacks += 1

    def _lose(self, captured: float, frames: int) -> None:
        """Counts lost audio: PortAudio reports a loss without its length, so the clock gives it."""
        expected = self._last_captured + frames / self.rate if self._last_captured is not None else captured
        self.ring.lose(max(1, int((captured - expected) * self.rate)))

    @property
    def backlog(self) -> Seconds:
        """Seconds of audio waiting to be read."""
        return self.ring.available / self.rate

    def close(self) -> bool:
        """Ends the stream; what the ring holds stays readable. Returns whether PortAudio released it.

        The driver of a device that hangs may hang in here too, so a thread of its own does it; while
        that runs, PortAudio must not be ended (both would wait for each other): see `released`.
        """
        self._closer = threading.Thread(target=self._release, name="microphone-close", daemon=True)
        self._closer.start()
        self._closer.join(CLOSE_TIMEOUT)
        self.end()
        return self.released

    def end(self) -> None:
        """Declares that no more audio comes, though the stream may still be open."""
        self.ended = True
        self._wake.set()

    @property
    def released(self) -> bool:
        """PortAudio has released the stream after `close`."""
        return self._closer is not None and not self._closer.is_alive()

    def _release(self) -> None:
        self._stream.abort(ignore_errors=True)
        self._stream.close(ignore_errors=True)


class CaptureReader:
    """Reads one capture at 16 kHz: soxr's streaming resampler where the device has another rate."""

    def __init__(self, capture: Capture) -> None:
        self.capture = capture
        self.captured = 0.0  # of the last sample delivered
        self._block = int(capture.rate * STEP_S)
        self._delay: Seconds = 0.0  # audio inside the resampler
        self._flushed = False
        self._resampler = None
        if capture.rate != SAMPLE_RATE:
            import soxr

            self._resampler = soxr.ResampleStream(capture.rate, SAMPLE_RATE, 1, dtype="float32")

    def read(self, *, last: bool) -> tuple[np.ndarray, float, float] | None:
        """(pcm, captured, seconds lost before it), or None where nothing waits."""
        piece = self.capture.ring.read(self._block)
        if piece is None:
            if not last or self._flushed:
                return None
            self._flushed = True
            lost = self.capture.ring.trailing_loss()
            pcm = np.zeros(0, np.float32)
            if self._resampler is not None:
                pcm = self._resampler.resample_chunk(pcm, last=True)
                self._delay = 0.0
                self.captured += pcm.size / SAMPLE_RATE
            return pcm, self.captured, lost
        pcm = piece.pcm
        if self._resampler is not None:
            pcm = self._resampler.resample_chunk(piece.pcm)
            self._delay += piece.pcm.size / self.capture.rate - pcm.size / SAMPLE_RATE
        self.captured = piece.captured - self._delay
        return pcm, self.captured, piece.lost
