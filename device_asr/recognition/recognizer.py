"""The streaming recognizer: PCM in, events out, the same events however the PCM is cut."""

from __future__ import annotations

from time import perf_counter

import numpy as np

from device_asr.audio.format import SAMPLE_RATE
from device_asr.bundle.bundle import load
from device_asr.config import Config
from device_asr.decoding.alignment import align_words
from device_asr.decoding.decoder import Decoder
from device_asr.events import AudioGap, Event, Final, Partial, SpeechEnded, SpeechStarted
from device_asr.hotwords.biasing import Biasing, biasing
from device_asr.recognition.align_att import Partials, Reencoding, longest, policy
from device_asr.recognition.endpoint import Closed, Endpointer, Opened
from device_asr.recognition.vad import FRAME, VoiceActivityDetector
from device_asr.recognition.window import _Window

FRAME_S = FRAME / SAMPLE_RATE


class StreamingRecognizer:
    """Voice activity, endpointing, partials while an utterance goes on, a final at its end."""

    def __init__(
        self,
        detector: VoiceActivityDetector,
        decoder: Decoder,
        config: Config,
        partials: Partials | None = None,
        custom: Biasing | None = None,
    ) -> None:
        self._custom = custom
        self._partials = partials or Reencoding(decoder, config.partial)
        self._detector, self._decoder, self._config = detector, decoder, config
        self._endpointer = Endpointer(config.endpoint)
        self.partial_interval: float | None = config.partial.interval_ms / 1000 if config.partial.enabled else None
        self.speech_probability = 0.0
        self._utterance = -1
        self._pending = np.zeros(0, np.float32)
        self._fed = 0  # samples
        self._offset = 0  # samples fed that finish() rounded up to whole frames
        self._window = _Window(int(longest(config) / FRAME_S) + 2)
        self._onset = self._start = 0
        self._shown = ("", "")
        self._updated = 0.0  # when the last partial was sought

    @classmethod
    def from_config(cls, config: Config) -> StreamingRecognizer:
        """Loads the bundle named in `config.model`.

        Raises:
            BundleError: missing, damaged, incomplete, or of a newer format.
            UsageError: the settings ask for what the model has not.
        """
        bundle = load(config.model.name, verify=not config.model.fast)
        threads = config.model.threads
        detector = VoiceActivityDetector(bundle.session("vad", threads))
        session = bundle.session("speech", threads)
        decoder = Decoder(bundle, session, config.decoding)
        partials = policy(bundle, session, decoder, config)
        return cls(detector, decoder, config, partials, biasing(bundle, session, partials, config))

    @property
    def time(self) -> float:
        """Seconds of audio fed so far."""
        return self._fed / SAMPLE_RATE

    def feed(self, pcm: np.ndarray, *, backlog: float = 0.0) -> list[Event]:
        """See `Recognizer.feed`.

        Raises:
            ValueError: `pcm` is not one-dimensional float or int16, or holds NaN or infinity.
        """
        samples = _as_float(pcm)
        self._fed += len(samples)
        data = np.concatenate([self._pending, samples]) if len(self._pending) else samples
        whole = len(data) // FRAME * FRAME
        events: list[Event] = []
        for at in range(0, whole, FRAME):
            events += self._frame(data[at : at + FRAME], backlog)
        self._pending = data[whole:].copy()
        return events

    def gap(self, lost: float, reason: str = "overflow") -> list[Event]:
        """See `Recognizer.gap`."""
        return [AudioGap(round(self.time, 3), lost, reason)]

    def finish(self) -> list[Event]:
        """See `Recognizer.finish`."""
        events: list[Event] = []
        if len(self._pending):
            rest = len(self._pending)
            events += self._frame(np.pad(self._pending, (0, FRAME - rest)), 0.0)
            self._offset += FRAME - rest
            self._pending = np.zeros(0, np.float32)
        if self._endpointer.open:
            end = self._endpointer.frame
            events += self._final(Closed(end, min(end, self._endpointer.speech_end)))
        self._endpointer.reset()
        self._detector.reset()
        return events

    def _seconds(self, frame: int) -> float:
        """Audio clock of a frame's start."""
        return round(min((frame * FRAME - self._offset) / SAMPLE_RATE, self.time), 3)

    def _frame(self, frame: np.ndarray, backlog: float) -> list[Event]:
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
        self._partials.hear(frame)  # without a gap, also while nothing is shown: evidence and finals come from it
        if (heard := self._partials.last_heard()) is not None:
            self._endpointer.spoke(self._start + int(heard / FRAME_S))
        return self._maybe_partial(number + 1, backlog, began)

    def _open(self, onset: int, start: int) -> list[Event]:
        self._utterance += 1
        self._onset, self._start = onset, start
        self._shown = ("", "")
        if self._custom:
            self._custom.begin()
        self._partials.begin(self._window.audio(start, self._endpointer.frame))
        self._updated = self._seconds(onset)
        return [SpeechStarted(self._utterance, self._seconds(onset))]

    def _maybe_partial(self, end: int, backlog: float, began: float) -> list[Event]:
        now = self._seconds(end)
        since = round(now - self._updated, 3)
        if self.partial_interval is None or not self._partials.due(since, self.partial_interval):
            return []
        self._updated = now
        if backlog * 1000 > self._config.partial.late_ms:
            return []  # late: skipped, the next one covers this audio too
        update = self._partials.update(lambda: self._window.audio(self._start, end), self._endpointer.pause * FRAME_S)
        if update is None:
            return []
        if self._custom:
            shown = self._custom.shown(update, self._window.activity(self._start, end), FRAME_S)
        else:
            decode = self._decoder.vocabulary.decode
            shown = decode(update.hypothesis.tokens).strip(), decode(update.committed).strip()
        if shown == self._shown:
            return []
        self._shown = shown
        return [Partial(self._utterance, *shown, self._seconds(self._onset), now, now, perf_counter() - began)]

    def _final(self, closed: Closed) -> list[Event]:
        began = perf_counter()
        time = self._seconds(self._endpointer.frame)
        ended = SpeechEnded(self._utterance, self._seconds(closed.speech_end))
        self._partials.end()
        if self._partials.heard_nothing():
            return [ended]
        audio = self._window.audio(self._start, closed.end)
        final = self._config.final
        encoded = self._partials.frames(len(audio)) if final.mode == "stream" else None
        bias = final.partial_bias_nats if self._partials.favored else 0.0
        # with partials a beam wins 3 words of 1050 and changes 4 % of those that were shown
        beam = 1 if self._config.partial.enabled else final.beam
        _, hypothesis = self._decoder.decode_final(
            audio, encoded or self._decoder.encode(audio), self._partials.draft, bias, beam
        )
        if not self._decoder.is_speech(hypothesis):
            return [ended]
        words = align_words(
            hypothesis,
            self._decoder.vocabulary,
            self._decoder.position_s,
            self._seconds(self._start),
            self._window.activity(self._start, closed.end),
        )
        confidence = round(float(np.exp(hypothesis.mean_logprob)), 4)
        text = self._decoder.vocabulary.decode(hypothesis.tokens).strip()
        if self._custom:
            words = self._custom.final(words, audio, self._seconds(self._start))
            text = " ".join(word.text for word in words)
        return [
            Final(
                self._utterance,
                text,
                self._seconds(self._onset),
                self._seconds(closed.speech_end),
                time,
                words,
                confidence,
                perf_counter() - began,
            ),
            ended,
        ]


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
