"""Settings of a training run, checked where they are made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from compress.data.augment import Augmentation
from compress.networks.chunking import Chunking
from compress.quantize.plan import QuantizationPlan
from compress.settings import check_corpus, check_count, parse
from device_asr.errors import UsageError


@dataclass(frozen=True)
class Streaming:
    """Training to encode in chunks, in a share of the batches; the others are encoded whole (dual mode).

    sizes: positions of a chunk, left_context: fewest and most positions before it, look_ahead: chunks after it,
    drawn for each batch (dynamic chunk training, Zhang et al. 2020). ctc: weight of the CTC term
    on the spoken text, in all batches. hidden: weight of the mean square distance to the encoder states with
    which the training began, of whole clips; of batches encoded in chunks, and with `regularize_whole` of all batches.
    """

    share: float = 0.67
    sizes: tuple[int, ...] = (8, 16, 32)
    left_context: tuple[int, int] = (125, 250)
    look_ahead: tuple[int, ...] = (0,)
    ctc: float = 0.3
    hidden: float = 0.0
    regularize_whole: bool = False

    def __post_init__(self) -> None:
        for name in ("sizes", "left_context", "look_ahead"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if not 0 <= self.share <= 1 or min(self.ctc, self.hidden) < 0:
            raise UsageError(
                f"distill.streaming: wanted share in [0, 1], ctc and hidden of at least 0, found "
                f"{self.share}, {self.ctc} and {self.hidden}."
            )
        left = self.left_context
        if not self.sizes or min(self.sizes) < 1 or len(left) != 2 or not 0 <= left[0] <= left[1]:
            raise UsageError(
                f"distill.streaming: wanted sizes of at least 1 position and left_context = [fewest, most], "
                f"found {list(self.sizes)} and {list(left)}."
            )
        if not self.look_ahead or min(self.look_ahead) < 0:
            raise UsageError(
                f"distill.streaming.look_ahead: wanted numbers of chunks of at least 0, found {list(self.look_ahead)}."
            )

    def draw(self, rng: np.random.Generator) -> Chunking | None:
        """How the next batch is encoded; None: whole."""
        if rng.random() >= self.share:
            return None
        size, left = int(rng.choice(self.sizes)), int(rng.integers(self.left_context[0], self.left_context[1] + 1))
        return Chunking(size, left, int(rng.choice(self.look_ahead)))


@dataclass(frozen=True)
class DistillSettings:
    """Settings of a training run.

    batch: clips computed together; accumulate: batches to one step of the optimizer.
    warmup: steps. soft, hard: weights of the KL term on the teacher's best tokens, softened by
    `temperature`, and of the cross-entropy on its text. hidden: weight of the mean square distance of the
    encoder's states to the teacher's of 30 s at once. cut: how often a clip that has a version cut in
    mid-speech (every third) is shown so.
    average: decay of the averaged weights a step. save_every: seconds.
    qat: the plan whose rounding the student trains through, as a table of the recipe; its weights stay float.
    evaluate: name of a manifest of the corpus folder; after each epoch WER is measured on its first
    `evaluate_clips` clips that have a text, see `EarlyStopping`. wer_budget: a share; the run ends when it
    holds. patience: epochs without a lower WER after which the run ends.
    only: patterns of the weights that are trained, such as "ctc.*"; none: all. rank: of the changes of linear layers
    that are trained instead of their weights and are added to them at the end, see `changes`; 0: the weights.
    joined: share of the batches whose clips are joined in twos and threes, see `utterance`.
    steps: of the optimizer, after which the run ends; 0: whole epochs. corpus: manifest -> clips taken of it, or
    "all"; none: the recipe's.
    keep: share of the first weights in the last ones, which are then the mean of both: it learns what is new and
    forgets less (WiSE-FT, Wortsman et al. 2022).
    """

    epochs: int = 1
    batch: int = 8
    accumulate: int = 1
    rate: float = 1e-5
    warmup: int = 20
    soft: float = 0.7
    hard: float = 0.3
    temperature: float = 1.0
    cut: float = 0.4
    average: float = 0.998
    clip_norm: float = 1.0
    weight_decay: float = 0.01
    seed: int = 0
    save_every: float = 120.0
    augment: Augmentation = field(default_factory=Augmentation)
    streaming: Streaming | None = None
    qat: QuantizationPlan | None = None
    evaluate: str | None = None
    evaluate_clips: int = 50
    wer_budget: float | None = None
    patience: int = 2
    only: tuple[str, ...] = ()
    hidden: float = 0.0
    keep: float = 0.0
    rank: int = 0
    joined: float = 0.0
    steps: int = 0
    corpus: Mapping[str, int | str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "only", (self.only,) if isinstance(self.only, str) else tuple(self.only))
        if isinstance(self.qat, Mapping):
            object.__setattr__(self, "qat", QuantizationPlan.from_table(self.qat))
        for name, kind in (("streaming", Streaming), ("augment", Augmentation)):
            table = getattr(self, name)
            if isinstance(table, Mapping):
                object.__setattr__(self, name, parse(kind, table, f"distill.{name}", f"distill.{name}"))
        self._check()

    def _check(self) -> None:
        for name in ("cut", "average", "keep"):
            if not 0 <= getattr(self, name) < 1:
                raise UsageError(f"distill.{name}: wanted a number in [0, 1), found {getattr(self, name)}.")
        if not 0 <= self.joined <= 1:
            raise UsageError(f"distill.joined: wanted a share in [0, 1], found {self.joined}.")
        if self.rank < 0 or (self.rank and self.qat is not None):
            raise UsageError(
                f"distill.rank: wanted a rank of at least 0, and 0 with qat, found {self.rank}"
                f"{'' if self.qat is None else ' with qat'}."
            )
        for name in ("epochs", "batch", "accumulate", "rate", "temperature", "clip_norm", "save_every"):
            if getattr(self, name) <= 0:
                raise UsageError(f"distill.{name}: wanted more than 0, found {getattr(self, name)}.")
        symbols = 0.0 if self.streaming is None else self.streaming.ctc
        weights = (self.soft, self.hard, self.hidden)
        if min(*weights, self.warmup, self.steps) < 0 or sum(weights) + symbols == 0:
            raise UsageError(
                "distill: wanted soft, hard, hidden, warmup, steps of at least 0 and one of soft, hard, hidden, "
                f"streaming.ctc above it, found soft {self.soft}, hard {self.hard}, hidden {self.hidden}, "
                f"warmup {self.warmup}, steps {self.steps}."
            )
        if self.qat is not None and self.qat.activations != "dynamic":
            raise UsageError(
                'distill.qat: wanted activations = "dynamic", found static: those ranges are measured '
                "on the exported program."
            )
        check_corpus("distill.corpus", self.corpus)
        for name in ("evaluate_clips", "patience"):
            check_count(f"distill.{name}", getattr(self, name))
        if self.wer_budget is not None and not 0 <= self.wer_budget < 1:
            raise UsageError(f"distill.wer_budget: wanted a share in [0, 1) such as 0.15, found {self.wer_budget}.")
        if self.wer_budget is not None and self.evaluate is None:
            raise UsageError('distill.wer_budget: wanted evaluate = "<manifest>" to measure WER on, found none.')
