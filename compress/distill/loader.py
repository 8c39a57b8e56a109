"""Batches of a training run: augmented clips of like length with the teacher's labels, for every step.

The randomness of a step depends on the seed and its number alone, so that a training that was cut goes on
with the batches that it would have had.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from compress.data.corpus import LONGEST_CLIP_S, batches, pad, read_clip
from compress.data.labels import LabelCache, trusted
from compress.data.targets import Targets, targets
from compress.data.translate import translator
from compress.distill.settings import DistillSettings
from compress.distill.utterance import Utterance, joined
from compress.networks.checkpoint import Checkpoint
from compress.networks.chunking import Chunking
from device_asr.audio.format import SAMPLE_RATE
from device_asr.bundle.symbols import spell
from device_asr.metrics.clips import Clip

CUT_FROM = 2.0  # seconds: shorter clips are never cut
CUT_ENDS = 0.7  # of the cut clips lose their end, the others their beginning
CUT_EVERY = 3  # one of so many clips has a cut version: each needs a label of its own
PREFETCHED = 2  # steps whose batches are prepared in advance


@dataclass(frozen=True)
class Batch:
    """Clips that are computed together: pcm (batch, samples), lengths (batch,) in samples, and the teacher's labels.

    wanted: None where nothing is learned from labels. spoken: symbols of each clip for CTC. chunking, start: see
    `SpeechNetwork.encode`.
    """

    pcm: Tensor
    lengths: Tensor
    wanted: Targets | None
    spoken: tuple[Sequence[int], ...]
    chunking: Chunking | None
    start: int

    @property
    def weight(self) -> int:
        """What the batch counts in a step: its tokens, without labels its samples."""
        return int(self.lengths.sum()) if self.wanted is None else self.wanted.count

    @property
    def words(self) -> int:
        """Words in all labels."""
        return 0 if self.wanted is None else self.wanted.words


class Loader:
    """The batches of every step of a training run.

    noises: background recordings, (n,) float32 at 16 kHz. labels: of the teacher.
    """

    def __init__(
        self,
        teacher: Checkpoint,
        student: Checkpoint,
        clips: Sequence[Clip],
        noises: Sequence[np.ndarray],
        settings: DistillSettings,
        labels: LabelCache,
    ) -> None:
        self.clips, self.noises, self.settings = clips, noises, settings
        self._student, self._teacher_vocabulary, self._labels = student, teacher.vocabulary, labels
        self._family = student.family_of()
        encode = self._family.token_encoder(student.vocabulary)
        self._translate = translator(teacher.vocabulary, student.vocabulary, encode)

    def steps(self, epoch: int) -> list[list[list[int]]]:
        """The batches of every step of an epoch."""
        rng = np.random.default_rng((self.settings.seed, 0, epoch))
        groups = list(batches([clip.duration or 0.0 for clip in self.clips], self.settings.batch, rng))
        return [groups[i : i + self.settings.accumulate] for i in range(0, len(groups), self.settings.accumulate)]

    def prefetch(self, steps: Iterable[tuple[int, list[list[int]]]]) -> Iterator[tuple[int, list[Batch]]]:
        """Each step's number and batches, prepared on a thread of their own while the step before is computed."""
        with ThreadPoolExecutor(1, thread_name_prefix="batches") as pool:
            waiting: deque[tuple[int, Future[list[Batch]]]] = deque()
            try:
                for number, groups in steps:
                    waiting.append((number, pool.submit(self._batches, groups, number)))
                    if len(waiting) > PREFETCHED:
                        done, future = waiting.popleft()
                        yield done, future.result()
                for done, future in waiting:
                    yield done, future.result()
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def _batches(self, groups: list[list[int]], number: int) -> list[Batch]:
        rng = np.random.default_rng((self.settings.seed, 1, number))
        return [batch for batch in (self._prepare(group, rng) for group in groups) if batch is not None]

    def _prepare(self, group: list[int], rng: np.random.Generator) -> Batch | None:
        """The clips of a group, those alone whose labels are trusted where labels are learned from."""
        settings, family = self.settings, self._family
        recordings, given = [], []
        for index in group:
            audio, text = read_clip(self.clips[index])[: int(LONGEST_CLIP_S * SAMPLE_RATE)], self.clips[index].text
            if rng.random() < settings.cut:
                audio, text = cut_clip(audio, text, index, settings.seed)
            recordings.append(audio)
            given.append(text)
        utterances = self._labeled(recordings, given) if self.labeled else [Utterance(one) for one in recordings]
        if not utterances:
            return None
        if settings.joined and rng.random() < settings.joined:
            utterances = joined(utterances, rng)
        augmented = [settings.augment.apply(one.audio, self.noises, rng, family.context_samples) for one in utterances]
        labels = [one.label for one in utterances if one.label is not None]
        streaming = settings.streaming
        chunking = None if streaming is None else streaming.draw(rng)
        start = 0 if chunking is None else int(rng.integers(self._student.dims.audio_ctx))
        pcm, lengths = pad(augmented, family.samples_per_position)
        return Batch(
            torch.from_numpy(pcm),
            torch.from_numpy(lengths),
            targets(labels, self._student.vocabulary) if labels else None,
            tuple(spell(one.text) for one in utterances),
            chunking,
            start,
        )

    @property
    def labeled(self) -> bool:
        """Whether a term of the loss needs the teacher's labels."""
        settings = self.settings
        symbols = settings.streaming is not None and settings.streaming.ctc > 0 and self._student.dims.ctc > 0
        return settings.soft + settings.hard > 0 or symbols

    def _labeled(self, recordings: list[np.ndarray], given: list[str | None]) -> list[Utterance]:
        """The recordings whose labels are trusted, with them; given texts suffice where symbols alone are learned."""
        found = []
        writes = self.settings.soft + self.settings.hard > 0
        unknown = [k for k, text in enumerate(given) if writes or text is None]
        made = self._labels.labels([recordings[k] for k in unknown], [given[k] for k in unknown])
        labels = dict(zip(unknown, made, strict=True))
        for k, (audio, text) in enumerate(zip(recordings, given, strict=True)):
            label = labels.get(k)
            if label is None:
                found.append(Utterance(audio, text or ""))
            elif trusted(label, self._teacher_vocabulary, text):
                said = text or self._teacher_vocabulary.decode(label.tokens.tolist())
                found.append(Utterance(audio, said, self._translate(label) if writes else None))
        return found


def cut_clip(audio: np.ndarray, text: str | None, index: int, seed: int) -> tuple[np.ndarray, str | None]:
    """The first or the last part of every third clip, which then has no given text; the others as they are.

    Where a clip is cut depends on its place in the corpus alone, so that the teacher labels it once.
    """
    rng = np.random.default_rng((seed, 3, index))
    if index % CUT_EVERY or len(audio) <= CUT_FROM * SAMPLE_RATE:
        return audio, text
    kept = int(rng.uniform(SAMPLE_RATE, len(audio)))
    return audio[:kept] if rng.random() < CUT_ENDS else audio[len(audio) - kept :], None
