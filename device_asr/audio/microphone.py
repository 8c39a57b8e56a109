"""The microphone as a source: survives slow readers, odd rates and unplugging."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator

import numpy as np

from device_asr.audio import devices
from device_asr.audio.capture import Capture, CaptureReader
from device_asr.audio.format import SAMPLE_RATE
from device_asr.audio.level import Level, measure
from device_asr.audio.source import AudioChunk
from device_asr.config import AudioConfig
from device_asr.errors import DeviceError
from device_asr.events import Seconds

TICK: Seconds = 0.1
STALLED_TICKS = 10  # no callback for 1 s: the stream is dead, even if PortAudio calls it active
OPENING_TICKS = 30  # a Bluetooth headset needs up to 3 s for its first block
RETRY_TICKS = 10  # look for a device once a second
METER: Seconds = 0.1
CLOSING: Seconds = 5.0


class MicrophoneSource:
    """A `LiveSource` over PortAudio.

    Args:
        config: priority list of devices, channel, length of the ring.
        wait: where no device is there at `start`, wait for one instead of raising.

    Libraries below PortAudio print to the terminal when a device goes: run inside
    `devices.silenced_libraries`.

    PortAudio's thread copies into a ring and returns (`capture.py`); the thread `microphone-watch`
    opens devices, notices when one is gone and opens the next; the iterating thread resamples.
    """

    def __init__(self, config: AudioConfig, *, wait: bool = False) -> None:
        self.config = config
        self.name = ""
        self.rate = SAMPLE_RATE
        self.on_notice: Callable[..., None] | None = None
        self._wait = wait
        self._wanted = config.devices
        self._switch = False
        self._paused = False
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._closed = False  # the last capture has ended; the rings hold all audio that is left
        self._capture: Capture | None = None  # the running one; owned by the watch thread once that runs
        self._stuck: Capture | None = None  # a capture whose stream PortAudio has not released
        self._captures: deque[Capture] = deque()  # captures that still hold audio, oldest first
        self._past_overflows = 0
        self._watcher: threading.Thread | None = None

    # --- for the session -------------------------------------------------------------------------

    def start(self) -> None:
        """Opens the first device of the priority list and begins to capture.

        Raises:
            DeviceError: PortAudio is missing, or (without `wait`) no device can be opened.
        """
        try:
            self._wanted = devices.by_name(devices.list_devices(), self._wanted)
            self._open()
        except DeviceError as error:
            devices.portaudio()  # without PortAudio waiting is of no use
            if not self._wait:
                raise
            self._notify_waiting(error)
        self._watcher = threading.Thread(target=self._watch, name="microphone-watch", daemon=True)
        self._watcher.start()

    @property
    def backlog(self) -> Seconds:
        """Seconds captured and not yet delivered."""
        return sum(capture.backlog for capture in list(self._captures))

    @property
    def overflows(self) -> int:
        """How often audio was lost because it was not taken in time."""
        return self._past_overflows + sum(capture.ring.losses for capture in list(self._captures))

    @property
    def waiting(self) -> bool:
        """No device is there."""
        return self._capture is None and not self._closing.is_set()

    def level(self) -> Level:
        """The level of the last 100 ms captured."""
        capture = self._capture
        if capture is None or self._paused:
            return Level()
        return measure(capture.ring.latest(int(METER * capture.rate)))

    def pause(self) -> None:
        """Throws audio away from now on; an empty chunk marks the place."""
        self._set_paused(True)

    def resume(self) -> None:
        """Captures again."""
        self._set_paused(False)

    def _set_paused(self, paused: bool) -> None:
        self._paused = paused
        capture = self._capture
        if capture is not None:
            capture.paused = paused
        self._wake.set()

    def select(self, device: str) -> None:
        """Changes to `device` (index or part of its name); the former priority list follows it.

        Raises:
            DeviceError: there is no such device.
        """
        chosen = devices.choose(devices.list_afresh(), (device,))
        self._wanted = (chosen.name, *(self.config.devices or (devices.DEFAULT,)))
        self._switch = True

    def close(self) -> None:
        """Ends capture and joins the watch thread; what was captured is still delivered."""
        self._closing.set()
        if self._watcher is not None:
            self._watcher.join(CLOSING)  # a sound server that hangs may keep it for ever
        for capture in list(self._captures):
            capture.end()
        self._closed = True
        self._wake.set()

    # --- opening and watching ----------------------------------------------------------------------

    def _notify(self, kind: str, message: str) -> None:
        if self.on_notice is not None:
            self.on_notice(kind, message)

    def _notify_waiting(self, error: DeviceError) -> None:
        # the action comes first: a line of 80 columns ends within the reason
        self._notify("device_waiting", f"Waiting for a microphone, looking every second. {error}")

    def _open(self) -> None:
        found = devices.list_devices()
        wanted = list(self._wanted)
        while True:  # a device that is listed but refuses gives way to the next of the list
            device = devices.choose(found, wanted)
            try:
                capture = Capture(device, self.config, self._wake)
                break
            except DeviceError:
                later = [name for name in wanted if not devices.matches(device, name)]
                if not later or len(later) == len(wanted):
                    raise
                wanted = later
        self.name, self.rate = device.name, capture.rate
        self._captures.append(capture)
        self._capture = capture
        capture.paused = self._paused  # last: `pause` may have come while the device was being opened
        self._wake.set()
        self._notify("device_opened", f"Listening to {device.name} at {capture.rate} Hz.")

    def _watch(self) -> None:
        idle = retry = seen = 0
        while not self._closing.wait(TICK):
            capture = self._capture
            if capture is None:
                retry += 1
                if retry % RETRY_TICKS == 0:
                    self._reopen()
                    idle = seen = 0
                continue
            # counted in ticks of this thread, so that a suspended machine does not look like a stall
            idle = idle + 1 if capture.callbacks == seen else 0
            seen = capture.callbacks
            stalled = idle >= (STALLED_TICKS if seen else OPENING_TICKS)
            if capture.ended or stalled or self._switch:
                self._leave(capture, stalled)
                self._reopen(first=True)
                idle = retry = seen = 0
        if self._capture is not None:
            self._end(self._capture)

    def _end(self, capture: Capture) -> None:
        self._stuck = None if capture.close() else capture
        self._capture = None

    def _leave(self, capture: Capture, stalled: bool) -> None:
        if self._switch:
            self._switch = False
            capture.reason = "device changed"
        else:
            capture.end()  # first, because closing may hang with the device and the utterance must end
            how = "gives no more audio" if stalled else "was unplugged"
            self._notify("device_lost", f"The microphone {capture.device.name} {how}; the audio until then is kept.")
        self._end(capture)

    def _reopen(self, *, first: bool = False) -> None:
        if self._stuck is not None and not self._stuck.released:
            return
        try:
            devices.refresh()
            self._switch = False  # a device that was chosen while there was none is taken now
            self._open()
        except DeviceError as error:
            if first:
                self._notify_waiting(error)

    # --- reading -------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[AudioChunk]:
        reading = _Reading()
        while True:
            self._wake.clear()
            if self._captures:
                yield from self._read(self._captures[0], reading)
            elif self._closed:
                return
            else:
                self._wake.wait(TICK)

    def _read(self, capture: Capture, reading: _Reading) -> Iterator[AudioChunk]:
        """The next audio of `capture`, or a boundary; waits a tick where there is neither."""
        ended = capture.ended  # before reading: audio that was written before the end is read
        reader = reading.reader_of(capture)
        piece = reader.read(last=ended)
        if piece is not None:
            pcm, captured, lost = piece
            if pcm.size or lost:  # else the audio is inside the resampler
                yield reading.chunk(pcm, captured, lost)
        elif ended:
            self._past_overflows += capture.ring.losses
            self._captures.popleft()
            reading.before = None if self._paused else reader.captured or reading.before
            reading.end_reason = capture.reason
            if not self._closing.is_set():
                yield reading.boundary(capture.reason)
        elif self._paused and not reading.marked_pause:
            reading.marked_pause, reading.before = True, None
            yield reading.boundary("paused")
        else:
            self._wake.wait(TICK)


class _Reading:
    """What one iteration over a microphone has delivered so far.

    before: capture time of the last sample of the former device; None: there is no gap to count.
    end_reason: why the former device ended. marked_pause: this pause has its boundary.
    """

    def __init__(self) -> None:
        self.before: float | None = None
        self.end_reason = ""
        self.marked_pause = False
        self._delivered = 0  # samples at 16 kHz
        self._reader: CaptureReader | None = None

    def reader_of(self, capture: Capture) -> CaptureReader:
        """The reader of `capture`, which is new for a new capture."""
        if self._reader is None or self._reader.capture is not capture:
            self._reader = CaptureReader(capture)
        return self._reader

    def chunk(self, pcm: np.ndarray, captured: float, lost: Seconds) -> AudioChunk:
        """`pcm` as the next chunk; the first one of a device counts the time without one as lost."""
        reason = "overflow" if lost else ""
        if self.before is not None and pcm.size:
            away = captured - pcm.size / SAMPLE_RATE - self.before
            lost, reason, self.before = max(0.0, away) + lost, self.end_reason, None
        self.marked_pause = False
        start = self._delivered / SAMPLE_RATE
        self._delivered += pcm.size
        return AudioChunk(pcm, start, captured, lost, reason)

    def boundary(self, reason: str) -> AudioChunk:
        """An empty chunk: the utterance ends here."""
        captured = (self._reader.captured if self._reader else 0.0) or time.monotonic()
        return AudioChunk(np.zeros(0, np.float32), self._delivered / SAMPLE_RATE, captured, 0.0, reason)
