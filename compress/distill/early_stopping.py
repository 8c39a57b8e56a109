"""Early stopping: after each epoch the student's WER decides whether it qualifies, trains on, or the training stops."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from compress.checkpoints import own
from compress.distill.training_log import earlier_wers
from compress.evaluate.accuracy import accuracy
from compress.networks.checkpoint import Checkpoint
from compress.networks.network import SpeechNetwork
from device_asr.metrics.clips import Clip

BEST = "best"  # folder of the weights with the lowest WER so far
Decision = Literal["qualify", "train on", "stop"]


@dataclass(frozen=True)
class Verdict:
    """What an evaluation after an epoch decides, with its figures and the reason."""

    decision: Decision
    reason: str
    metrics: Mapping[str, float] = field(default_factory=dict)


class EarlyStopping:
    """Measures greedy WER of the student as it ships: short context, no guards, quantized where it trained so.

    The best weights so far are kept in `work`; what was measured before a cut is read from the log there.

    Args:
        clips: with texts. budget: the WER that qualifies; None: none does.
        patience: epochs without a lower WER after which the training stops. epochs: of the whole run.
        network: makes of a checkpoint the network that is measured.
        tell: called with each verdict in one line.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        budget: float | None,
        patience: int,
        epochs: int,
        work: Path,
        network: Callable[[Checkpoint], SpeechNetwork],
        tell: Callable[[str], None],
    ) -> None:
        self._clips, self._budget, self._patience, self._epochs = clips, budget, patience, epochs
        self._work, self._network, self._tell = work, network, tell

    def __call__(self, student: Checkpoint) -> Verdict:
        """The verdict on the averaged weights of an epoch."""
        found = accuracy(self._network(student), student.vocabulary, self._clips)
        earlier = earlier_wers(self._work)
        if all(found.wer < wer for wer in earlier):
            own.save(student, self._work / BEST)
        decision, reason = decide([*earlier, found.wer], self._budget, self._patience, self._epochs)
        self._tell(
            f"epoch {len(earlier) + 1}: WER {found.wer:.2%}, {found.loops} of {found.clips} clips loop: "
            f"{decision}, {reason}"
        )
        return Verdict(decision, reason, {"wer": found.wer, "loops": found.loops, "clips": found.clips})

    def best(self) -> Checkpoint:
        """The weights with the lowest WER; of equals the first."""
        return own.load(self._work / BEST)


def decide(wers: Sequence[float], budget: float | None, patience: int, epochs: int) -> tuple[Decision, str]:
    """The decision after an epoch, and its reason.

    Args:
        wers: of all epochs so far, at least one.
    """
    best = min(wers)
    idle = len(wers) - 1 - wers.index(best)
    above = "" if budget is None else f", above the budget of {budget:.2%}"
    if budget is not None and wers[-1] <= budget:
        return "qualify", f"the budget of {budget:.2%} holds"
    if idle >= patience:
        return "stop", f"no gain for {idle} epochs; the best was {best:.2%} after epoch {len(wers) - idle}{above}"
    if len(wers) >= epochs:
        return "stop", f"the last of {epochs} epochs; the best was {best:.2%}{above}"
    return "train on", "the lowest so far" if idle == 0 else f"no gain for {idle} of {patience} epochs"
