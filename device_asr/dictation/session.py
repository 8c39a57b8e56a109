"""The live session: audio from a source, through the recognizer, to a listener, on its own thread.

`device-asr listen` and the terminal interface both use `LiveSession`; neither touches the microphone or
the recognizer itself.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from device_asr.audio.clock import AudioClock
from device_asr.audio.format import SAMPLE_RATE, STEP_S
from device_asr.audio.live_source import LiveSource, NoticeKind
from device_asr.audio.source import AudioChunk
from device_asr.config import Config
from device_asr.dictation.pace import BEHIND, Pace
from device_asr.dictation.remote import RemoteRecognizer
from device_asr.dictation.state import Delivery, LiveState, Notice, Phase
from device_asr.errors import DeviceAsrError
from device_asr.events import AudioGap, Event, Failed, Seconds
from device_asr.recognition.protocol import Recognizer

RecognizerFactory = Callable[[], Recognizer]
_log = logging.getLogger(__name__)


class LiveSession:
    """One run from the first audio to the last text.

    Args:
        source: where audio comes from; the session starts and closes it.
        make_recognizer: loads the recognizer; called once, on the worker thread, after capture began.
            `lambda: remote.load(config)` keeps an interface moving; the session ends that process.
        config: `config.partial` gives the normal interval of partials.
        on_event: gets every Delivery in order, from the worker thread (a "device_*" Notice comes from
            the source's thread); it must return quickly and must not call `stop`. In Textual:
            `lambda d: app.call_from_thread(...)` blocks, so prefer `app.post_message`.
        on_audio: gets each AudioChunk before it is fed (16 kHz, zeros where muted), for recording. It goes on while
            the recognizer's process is started again.
    """

    def __init__(
        self,
        source: LiveSource,
        make_recognizer: RecognizerFactory,
        config: Config,
        on_event: Callable[[Delivery], None],
        *,
        on_audio: Callable[[AudioChunk], None] | None = None,
    ) -> None:
        self.source = source
        self.config = config
        self._make_recognizer = make_recognizer
        self._on_event = on_event
        self._on_audio = on_audio
        self._clock = AudioClock()
        self._pace = Pace(config.partial.interval_ms / 1000 if config.partial.enabled else None)
        self._recognizer: Recognizer | None = None
        self._worker: threading.Thread | None = None
        self._began = 0.0
        self._fed = 0  # samples
        self._compute: Seconds = 0.0
        self._load: Seconds | None = None
        self._lost: Seconds = 0.0
        self._muted = self._paused = self._stopped = self._aborted = False
        self._error: str | None = None
        self._cut_lock = threading.Lock()
        self._cut_wanted: tuple[Seconds, Callable[[], None]] | None = None  # since when, and what then
        self._between = True  # no audio was fed since an utterance was last finished here

    def start(self) -> None:
        """Starts capture, then the worker, and returns; DeviceError where there is no microphone."""
        self._began = time.monotonic()
        self.source.on_notice = self._notify
        self.source.start()
        self._worker = threading.Thread(target=self._work, name="recognizer", daemon=True)
        self._worker.start()

    def pause(self) -> None:
        """Stops listening: the utterance so far becomes a Final, later audio is thrown away."""
        if not self._paused:
            self._paused = True
            self.source.pause()
            self._notify("paused", "Paused: audio is ignored.")

    def resume(self) -> None:
        """Listens again."""
        if self._paused:
            self._paused = False
            self.source.resume()
            self._notify("resumed", "Listening again.")

    def mute(self, muted: bool = True) -> None:
        """Feeds silence instead of audio; time goes on and the utterance ends by itself."""
        if muted != self._muted:
            self._muted = muted
            self._notify("muted" if muted else "unmuted", "Muted." if muted else "No longer muted.")

    def select_device(self, device: str) -> None:
        """Changes the microphone; the utterance so far is finished. DeviceError where there is none."""
        self.source.select(device)

    def cut(self, then: Callable[[], None]) -> None:
        """Finishes the utterance here, then calls `then` before any later audio is fed.

        `then` runs on the worker thread; where no utterance can be in progress (not begun, paused, ended) it
        runs here and now. Audio that was captured before this call is fed before the cut.
        """
        with self._cut_lock:
            if not self._between and self._worker is not None and self._worker.is_alive():
                self._cut_wanted = (time.monotonic(), then)
            else:
                then()

    def stop(self, timeout: Seconds | None = None) -> bool:
        """Closes the source, works off the captured audio, finishes the utterance, joins the worker.

        Idempotent. Returns False where `timeout` seconds were not enough (a later call may go on).
        """
        self._stopped = True
        self.source.close()
        return self.wait(timeout)

    def abort(self) -> None:
        """Closes the source and drops the audio that is not fed yet; does not wait."""
        self._aborted = True
        self.source.close()

    def wait(self, timeout: Seconds | None = None) -> bool:
        """Waits until the session has ended by itself (end of a file, failure) or was stopped."""
        if self._worker is None:
            return True
        self._worker.join(timeout)
        return not self._worker.is_alive()

    @property
    def state(self) -> LiveState:
        """The read-outs of this moment; never blocks on the recognizer."""
        source, recognizer = self.source, self._recognizer
        backlog, phase = source.backlog + _waiting(recognizer), self._phase()
        # without audio the last probability belongs to audio that is over
        speech = recognizer.speech_probability if recognizer and phase == "listening" else 0.0
        return LiveState(
            phase=phase,
            device=source.name,
            rate=source.rate,
            muted=self._muted,
            level=source.level(),
            speech_probability=speech,
            overflows=source.overflows,
            lost=self._lost,
            backlog=backlog,
            queue=int(backlog / STEP_S),
            behind=backlog if phase != "loading" and backlog > BEHIND else 0.0,
            step=self._pace.step,
            partial_interval=self._pace.partial_interval(),
            elapsed=self._fed / SAMPLE_RATE,
            wall_elapsed=time.monotonic() - self._began if self._began else 0.0,
            load=self._load,
            compute=self._compute,
            error=self._error,
        )

    def _phase(self) -> Phase:
        if self._error is not None:
            return "failed"
        if self._worker is None:
            return "starting"
        if not self._worker.is_alive():
            return "stopped"
        if self._paused:
            return "paused"
        if self.source.waiting:
            return "waiting"
        return "loading" if self._recognizer is None or _restarting(self._recognizer) else "listening"

    def wall_time(self, audio: Seconds) -> Seconds:
        """`time.monotonic()` at which the sample at `audio` seconds was captured; for latencies.

        Raises:
            ValueError: no audio was fed yet.
        """
        return self._clock.wall(audio)

    # --- the worker ------------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            self._recognizer = recognizer = self._make_recognizer()
            self._load = time.monotonic() - self._began
            if isinstance(recognizer, RemoteRecognizer):
                recognizer.report_deaths(lambda sentence: self._notify("recognizer_died", sentence))
            self._notify("model_ready", f"The recognizer is ready after {self._load:.1f} s.")
            broken = self._listen(recognizer)
            if self._aborted:
                return
            self._finish(recognizer)
            if broken is not None:
                self._fail(str(broken))
            elif not self._stopped:
                self._notify("source_ended", f"{self.source.name} has ended.")
        except DeviceAsrError as error:
            self._fail(str(error))
        except Exception as error:
            _log.debug("the session failed", exc_info=True)
            self._fail(f"The session failed: {type(error).__name__}: {error}.")
        finally:
            self._at_a_cut()
            self.source.close()
            if isinstance(self._recognizer, RemoteRecognizer):
                self._recognizer.close()

    def _listen(self, recognizer: Recognizer) -> DeviceAsrError | None:
        """Feeds the source to its end; returns the error that broke it, so that the utterance is still finished."""
        chunks = iter(self.source)
        while not self._aborted:
            try:
                chunk = next(chunks, None)
            except DeviceAsrError as error:
                return error
            if chunk is None:
                return None
            self._feed(recognizer, chunk)
        return None

    def _feed(self, recognizer: Recognizer, chunk: AudioChunk) -> None:
        if chunk.lost:
            self._deliver(recognizer.gap(chunk.lost, chunk.reason or "overflow"))
        if not chunk.pcm.size:
            if chunk.reason and not chunk.lost:  # a boundary: the utterance ends here
                self._finish(recognizer)
            return
        wanted = self._cut_wanted
        if wanted is not None and chunk.captured > wanted[0]:
            self._finish(recognizer)
        with self._cut_lock:
            self._between = False
        if self._muted:
            chunk = replace(chunk, pcm=np.zeros_like(chunk.pcm))
        if self._on_audio is not None:
            self._on_audio(chunk)
        self._fed += chunk.pcm.size
        self._clock.add(self._fed / SAMPLE_RATE, chunk.captured)
        backlog = self.source.backlog
        if _restarting(recognizer):
            self._pace.excuse()
        self._keep_pace(recognizer, backlog + _waiting(recognizer))
        self._deliver(self._timed(lambda: recognizer.feed(chunk.pcm, backlog=backlog)))

    def _keep_pace(self, recognizer: Recognizer, backlog: Seconds) -> None:
        turn = self._pace.update(time.monotonic(), backlog)
        if not turn:
            return
        interval = recognizer.partial_interval = self._pace.partial_interval()
        now = "finals only" if interval is None else f"partial text every {interval:.1f} s"
        if turn > 0:
            self._notify("behind", f"Behind by {backlog:.1f} s: {now}.")
        else:
            self._notify("recovered", f"Caught up: {now}.")

    def _timed(self, work: Callable[[], list[Event]]) -> list[Event]:
        began = time.perf_counter()
        try:
            return work()
        finally:
            self._compute += time.perf_counter() - began

    def _finish(self, recognizer: Recognizer) -> None:
        self._deliver(self._timed(recognizer.finish), cut_short=True)
        self._at_a_cut()

    def _at_a_cut(self) -> None:
        with self._cut_lock:
            wanted, self._cut_wanted = self._cut_wanted, None
            self._between = True
        if wanted is not None:
            wanted[1]()

    def _deliver(self, events: list[Event], *, cut_short: bool = False) -> None:
        for event in events:
            if isinstance(event, AudioGap):
                self._lost += event.lost
            self._on_event(Delivery(event, time.monotonic(), getattr(event, "compute", 0.0), cut_short))

    def _notify(self, kind: NoticeKind, message: str) -> None:
        self._on_event(Delivery(Notice(kind, message, self._pace.step), time.monotonic()))

    def _fail(self, message: str) -> None:
        self._error = message
        self._on_event(Delivery(Failed(self._fed / SAMPLE_RATE, message), time.monotonic()))


def _restarting(recognizer: Recognizer | None) -> bool:
    """Whether its process died, and another one loads."""
    return isinstance(recognizer, RemoteRecognizer) and recognizer.loading


def _waiting(recognizer: Recognizer | None) -> Seconds:
    """Seconds of audio that it was fed and keeps until its process works again."""
    return recognizer.waiting if isinstance(recognizer, RemoteRecognizer) else 0.0
