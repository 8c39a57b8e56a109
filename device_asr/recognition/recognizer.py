"""The streaming recognizer: PCM in, events out, the same events however the PCM is cut."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from time import perf_counter

import numpy as np

from device_asr.audio.format import SAMPLE_RATE, STEP, STEP_MS, STEP_S
from device_asr.config import Config
from device_asr.decoding.alignment import align_words
from device_asr.decoding.decoder import Decoder
from device_asr.decoding.hypothesis import Hypothesis
from device_asr.events import AudioGap, Event, Final, Partial, Seconds, SpeechEnded, SpeechStarted, Word
from device_asr.hotwords.biasing import Biasing
from device_asr.recognition.endpoint import Closed, Endpointer, Opened, longest_utterance
from device_asr.recognition.protocol import PartialPolicy, Shown, UtteranceEncoder
from device_asr.recognition.resume import RecognizerState, ResumePoint
from device_asr.recognition.vad import VoiceActivityDetector
from device_asr.recognition.window import Window

POINT_FRAMES = 31  # 1 s; while nobody speaks, another recognizer has so much audio to take again


class StreamingRecognizer:
    """Voice activity, endpointing, partials while an utterance goes on, a final at its end.

    `device_asr.recognition.assemble` builds it from the settings.

    partial_compute: seconds spent on partials so far: encoding while an utterance goes on, and the policy's decisions
        and updates. What finals cost is not in it.
    resume_point: where the last utterance opened or ended, or later, while nobody speaks: see `Resumable`.

    Args:
        encoder: encodes each utterance while it goes on.
        policy: decides when a partial is shown, and which.
        custom: custom words; None: there are none.
    """

    def __init__(
        self,
        detector: VoiceActivityDetector,
        decoder: Decoder,
        encoder: UtteranceEncoder,
        policy: PartialPolicy,
        config: Config,
        custom: Biasing | None = None,
    ) -> None:
        self._detector, self._decoder, self._config = detector, decoder, config
        self._encoder, self._policy, self._custom = encoder, policy, custom
        self._endpointer = Endpointer(config.endpoint)
        self.partial_interval: Seconds | None = config.partial.interval_ms / 1000 if config.partial.enabled else None
        self.speech_probability = 0.0
        self.partial_compute: Seconds = 0.0
        self._utterance = -1
        self._pending = np.zeros(0, np.float32)
        self._fed = 0  # samples
        self._offset = 0  # samples fed that finish() rounded up to whole frames
        self._window = Window(int(longest_utterance(config.endpoint) / STEP_S) + 2)
        self._onset = self._start = 0  # frames
        self._shown = ("", "")
        self._updated = 0.0  # when the last partial was sought
        self.resume_point = ResumePoint(0)
        self._marked = (0, -1, False)  # frame, utterance, open: where `resume_point` is

    @property
    def time(self) -> Seconds:
        """Seconds of audio fed so far."""
        return self._fed / SAMPLE_RATE

    def feed(self, pcm: np.ndarray, *, backlog: Seconds = 0.0) -> list[Event]:
        """See `Recognizer.feed`.

        Raises:
            ValueError: `pcm` is not one-dimensional float or int16, or holds NaN or infinity.
        """
        samples = _as_float(pcm)
        self._fed += len(samples)
        data = np.concatenate([self._pending, samples]) if len(self._pending) else samples
        whole = len(data) // STEP * STEP
        events: list[Event] = []
        for at in range(0, whole, STEP):
            events += self._frame(data[at : at + STEP], backlog)
            frame, utterance, is_open = self._marked
            if (utterance, is_open) != (self._utterance, self._endpointer.open) or (
                not is_open and self._endpointer.frame - frame >= POINT_FRAMES
            ):
                self._mark()
        self._pending = data[whole:].copy()
        return events

    def gap(self, lost: Seconds, reason: str = "overflow") -> list[Event]:
        """See `Recognizer.gap`."""
        return [AudioGap(round(self.time, 3), lost, reason)]

    def finish(self) -> list[Event]:
        """See `Recognizer.finish`."""
        events: list[Event] = []
        if len(self._pending):
            rest = len(self._pending)
            events += self._frame(np.pad(self._pending, (0, STEP - rest)), 0.0)
            self._offset += STEP - rest
            self._pending = np.zeros(0, np.float32)
        if self._endpointer.open:
            end = self._endpointer.frame
            events += self._final(Closed(end, min(end, self._endpointer.speech_end)))
        self._endpointer.reset()
        self._detector.reset()
        self._mark()
        return events

    def resume(self, point: ResumePoint) -> None:
        """See `Resumable.resume`."""
        self.resume_point = point
        self._fed, self._utterance, state = point.position, point.utterance, point.state
        self._pending = np.zeros(0, np.float32)
        if state is None:
            self._offset, self._endpointer = -point.position, Endpointer(self._config.endpoint)
            self._detector.reset()
            self._window.clear()
            self._marked = (0, point.utterance, False)
            return
        self._offset, self._onset, self._start = state.offset, state.onset, state.start
        self._detector.state, self._endpointer = state.detector, state.endpointer.copied()
        frame = self._endpointer.frame
        self._window.restore(state.audio, state.activity, frame)
        self._marked = (frame, self._utterance, self._endpointer.open)
        if self._endpointer.open:
            self._begin()

    def _mark(self) -> None:
        """Moves `resume_point` to here."""
        endpointer = self._endpointer.copied()
        audio, activity = self._window.tail(endpointer.earliest)
        state = RecognizerState(
            self._offset, self._detector.state, endpointer, audio, activity, self._onset, self._start
        )
        self.resume_point = ResumePoint(endpointer.frame * STEP - self._offset, self._utterance, state)
        self._marked = (endpointer.frame, self._utterance, endpointer.open)

    def _seconds(self, frame: int) -> Seconds:
        """Audio clock of a frame's start."""
        return round(min((frame * STEP - self._offset) / SAMPLE_RATE, self.time), 3)

    @contextmanager
    def _partial_time(self) -> Iterator[None]:
        """Adds the time spent within to `partial_compute`."""
        began = perf_counter()
        yield
        self.partial_compute += perf_counter() - began

    def _frame(self, frame: np.ndarray, backlog: Seconds) -> list[Event]:
        """Takes one frame: voice activity first, then the utterance opens, closes, or goes on."""
        self.speech_probability = probability = self._detector(frame)
        number = self._endpointer.frame
        self._window.push(frame, probability >= self._config.endpoint.off)
        change = self._endpointer.feed(probability, float(np.sqrt(np.mean(frame * frame))))
        if isinstance(change, Opened):
            return self._open(change.onset, change.start)
        if isinstance(change, Closed):
            events = self._final(change)
            if change.forced:
                events += self._open(change.end, change.end)
            return events
        if not self._endpointer.open:
            return []
        began = perf_counter()
        self._encode(frame)
        return self._partial(number + 1, backlog, began)

    def _open(self, onset: int, start: int) -> list[Event]:
        """An utterance begins at the frame `start`, its speech at the frame `onset`."""
        self._utterance += 1
        self._onset, self._start = onset, start
        self._begin()
        return [SpeechStarted(self._utterance, self._seconds(onset))]

    def _begin(self) -> None:
        """Opens the utterance in everything that works on it."""
        self._shown = ("", "")
        if self._custom:
            self._custom.begin()
        with self._partial_time():
            self._encoder.begin(self._window.audio(self._start, self._endpointer.frame))
            self._policy.begin()
        self._updated = self._seconds(self._onset)

    def _encode(self, frame: np.ndarray) -> None:
        """Encodes the next frame of the utterance, also while no partials are shown: the final needs every frame.

        Evidence of speech in the encoded audio keeps the utterance open.
        """
        with self._partial_time():
            self._encoder.feed(frame)
        voice = self._encoder.last_voice()
        if voice is not None:
            self._endpointer.spoke(self._start + int(voice / STEP_S))

    def _partial(self, end: int, backlog: Seconds, began: float) -> list[Event]:
        """The partial of the utterance up to the frame `end`; none if it is not due, late, or equal to the last one."""
        now = self._seconds(end)
        if not self._due(now):
            return []
        self._updated = now
        if backlog * 1000 > self._config.partial.late_ms:
            return []  # late: skipped, the next one covers this audio too
        update = self._update(end)
        if update is None:
            return []
        shown = self._text(update, end)
        if shown == self._shown:
            return []
        self._shown = shown
        return [Partial(self._utterance, *shown, self._seconds(self._onset), now, now, perf_counter() - began)]

    def _due(self, now: Seconds) -> bool:
        if self.partial_interval is None:
            return False
        with self._partial_time():
            return self._policy.due(round(now - self._updated, 3), self.partial_interval)

    def _update(self, end: int) -> Shown | None:
        with self._partial_time():
            return self._policy.update(
                lambda: self._window.audio(self._start, end),
                self._endpointer.pause * STEP_S,
                self._spoken(end),
            )

    def _text(self, update: Shown, end: int) -> tuple[str, str]:
        """The text of a partial, and its committed beginning."""
        if self._custom:
            activity = self._window.activity(self._start, end)
            return self._custom.shown(update.hypothesis, update.committed, activity)
        decode = self._decoder.vocabulary.decode
        return decode(update.hypothesis.tokens).strip(), decode(update.committed).strip()

    def _final(self, closed: Closed) -> list[Event]:
        """Ends the utterance: its Final, unless it holds no words, and SpeechEnded."""
        began = perf_counter()
        time = self._seconds(self._endpointer.frame)
        ended = SpeechEnded(self._utterance, self._seconds(closed.speech_end))
        self._encoder.end()
        if self._encoder.no_voice():
            return [ended]
        audio = self._window.audio(self._start, closed.end)
        hypothesis = self._decode(audio, self._spoken(closed.end))
        if not self._decoder.is_speech(hypothesis):
            return [ended]
        text, words = self._written(hypothesis, audio, closed.end)
        final = Final(
            self._utterance,
            text,
            self._seconds(self._onset),
            self._seconds(closed.speech_end),
            time,
            words,
            round(float(np.exp(hypothesis.mean_logprob)), 4),
            perf_counter() - began,
        )
        return [final, ended]

    def _spoken(self, end: int) -> bool:
        """Whether the detector found speech between the utterance's beginning and the frame `end`.

        It did where it opened the utterance, but not always where a cut of a long one did.
        """
        return sum(self._window.activity(self._start, end)) * STEP_MS >= self._config.endpoint.min_speech_ms

    def _decode(self, audio: np.ndarray, spoken: bool) -> Hypothesis:
        """Decodes the finished utterance.

        Its positions come from the stream, or it is encoded again with full context. The text stays near the partials,
        or is the best of a beam search where none are shown.
        """
        final = self._config.final
        encoded = self._encoder.encoded(len(audio)) if final.mode == "stream" else None
        bias = final.partial_bias_nats if self._policy.biased else 0.0
        # with partials a beam wins 3 words of 1050 and changes 4 % of those that were shown
        beam = 1 if self._config.partial.enabled else final.beam
        _, hypothesis = self._decoder.decode_final(
            audio, replace(encoded or self._decoder.encode(audio), spoken=spoken), self._policy.draft, bias, beam
        )
        return hypothesis

    def _written(self, hypothesis: Hypothesis, audio: np.ndarray, end: int) -> tuple[str, tuple[Word, ...]]:
        """The final's text and its words with their times, custom words in place."""
        start, vocabulary = self._seconds(self._start), self._decoder.vocabulary
        activity = self._window.activity(self._start, end)
        words = align_words(hypothesis, vocabulary, self._decoder.position_s, start, activity)
        if not self._custom:
            return vocabulary.decode(hypothesis.tokens).strip(), words
        words = self._custom.final(words, audio, start)
        return " ".join(word.text for word in words), words


def _as_float(pcm: np.ndarray) -> np.ndarray:
    pcm = np.asarray(pcm)
    if pcm.ndim != 1:
        raise ValueError(f"wanted PCM of one dimension, found shape {pcm.shape}")
    if pcm.dtype == np.int16:
        return pcm.astype(np.float32) / 32768.0
    if not np.issubdtype(pcm.dtype, np.floating):
        raise ValueError(f"wanted float32 or int16 PCM, found {pcm.dtype}")
    pcm = pcm.astype(np.float32, copy=False)
    if not np.isfinite(pcm).all():
        raise ValueError("wanted finite PCM, found NaN or infinity")
    return pcm
