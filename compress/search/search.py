"""The search for the best model that a device holds: trials over recipes, cheap looks first, a ledger that lasts.

Trials and their ledger live in Optuna's SQLite storage: it survives a kill at any point (a journal file
cut in mid-line cannot be read again). The same command goes on; what a kill cut short is tried anew, and
the stages that were done by then are found on disk.
"""

from __future__ import annotations

import json
import math
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress import tables
from compress.networks.whisper.dims import Dims
from compress.search import ledger
from compress.search.device_profile import DeviceProfile, Measured, Miss, misses
from compress.search.ledger import Row
from compress.search.space import Candidate, Size, Space, size_of
from device_asr.errors import DeviceAsrError, OutputError, UsageError

if TYPE_CHECKING:
    from optuna import Study, Trial

STORAGE, LEDGER, RESULT = "search.sqlite", "ledger.jsonl", "result.json"
STUDY = "search"
UNSEEN_AFTER = 100  # trials in a row that only repeat or exceed the size by estimate: nothing new is left
WARM_UP = 5  # trials before one is cut for its loss
WORST_QUARTER = 75.0  # percentile of the losses so far


class _Failed(Exception):
    """A trial whose failure is in its row; the search goes on."""


class Cut(Exception):
    """A trial that is not worth going on with; `measured` is what is known of it by then."""

    def __init__(self, reason: str, measured: Measured | None = None) -> None:
        super().__init__(reason)
        self.measured = measured


CheckLoss = Callable[[float], None]  # raises Cut where the fp32 loss is hopeless
Evaluate = Callable[[Candidate, DeviceProfile, CheckLoss], Measured]  # raises Cut, DeviceAsrError


@dataclass(frozen=True)
class Plan:
    """How long to search: trials that were worked on, and seconds spent on them, both over all runs; None: no limit.

    identity: what the trials depend on besides their recipe (teacher, corpus, clips); a ledger of another
    identity is refused.
    """

    trials: int | None
    seconds: float | None
    identity: Mapping[str, Any]
    seed: int = 0


@dataclass(frozen=True)
class Outcome:
    """What the search found: the best bundle that holds the budgets, or the nearest; None: no trial was measured."""

    device: DeviceProfile
    best: Row | None
    missed: tuple[Miss, ...]
    rows: tuple[Row, ...]

    @property
    def holds(self) -> bool:
        """Whether a bundle within all budgets was found."""
        return self.best is not None and not self.missed

    @property
    def sentence(self) -> str:
        """For a person."""
        tried = f"{sum(row.state == 'complete' for row in self.rows)} of {len(self.rows)} trials were measured"
        if self.best is None:
            why = next((row.reason for row in reversed(self.rows) if row.state == "failed"), "")
            return f"No bundle for {self.device.name}: {tried}; " + (f"last failure: {why}" if why else "run longer.")
        row, found = self.best, self.best.measured()
        scaled = self.device.speed_factor
        what = f"{row.bundle or f'trial {row.trial}'} ({found.bytes / 1e6:.1f} MB"
        what += "" if found.wer is None else f", WER {100 * found.wer:.1f} %"
        what += "" if found.rtf is None else f", RTF {found.rtf * scaled:.2f}"
        what += "" if found.finalization is None else f", finalization {1000 * found.finalization * scaled:.0f} ms"
        what += f" on {self.device.name})"
        if self.holds:
            return f"Best within the budgets of {self.device.name}: {what}; {tried}."
        return (
            f"Nothing holds the budgets of {self.device.name}; nearest is {what}, which misses "
            f"{', '.join(str(miss) for miss in self.missed)}; {tried}."
        )

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "device": asdict(self.device),
            "holds": self.holds,
            "sentence": self.sentence,
            "best": self.best and asdict(self.best),
            "missed": [{**asdict(miss), "excess": miss.excess} for miss in self.missed],
            "trials": len(self.rows),
        }


def outcome(rows: list[Row], device: DeviceProfile) -> Outcome:
    """The lowest WER within the budgets, else the least excess over all of them together."""
    judged = [(row, misses(row.measured(), device)) for row in rows if row.state == "complete"]
    if not judged:
        return Outcome(device, None, (), tuple(rows))
    best, missed = min(judged, key=lambda pair: (sum(miss.excess for miss in pair[1]), _wer(pair[0]), pair[0].trial))
    return Outcome(device, best, missed, tuple(rows))


def _wer(row: Row) -> float:
    return math.inf if row.wer is None else row.wer


def check_possible(space: Space, teacher: Dims, device: DeviceProfile) -> None:
    """Refuses a budget under the smallest network of the space, before any work.

    Raises:
        UsageError: with both sizes.
    """
    least = space.smallest
    size = size_of(teacher, least)
    if _over(size, device):
        raise UsageError(
            f"Device {device.name} allows {device.size_mb:g} MB, but the smallest network of this search "
            f"({least.vocabulary} pieces, {least.encoder_layers} + {least.decoder_layers} layers, {least.bits} bits, "
            f"{size.parameters / 1e6:.1f} M parameters) takes about {size.bytes / 1e6:.1f} MB; raise size_mb, or give "
            "a smaller teacher."
        )


def _over(size: Size, device: DeviceProfile) -> tuple[Miss, ...]:
    """The budgets that an estimate exceeds."""
    return misses(Measured(size.parameters, size.bytes), device)


def search(
    device: DeviceProfile,
    space: Space,
    teacher: Dims,
    evaluate: Evaluate,
    work: Path,
    plan: Plan,
    report: Callable[[Row], None] = lambda row: None,
) -> Outcome:
    """Tries recipes until the plan is done or nothing new is left; goes on where an earlier run was cut.

    The first trials are whole networks, see `Space.whole`. The sampler (TPE) minimizes WER plus every budget's
    excess, so that a bundle twice too large is as bad as a WER 100 % higher. Before a trial is built, its bytes
    are estimated; `evaluate` reports its fp32 loss before training, and the worst quarter is cut.

    Args:
        work: folder of the storage, ledger.jsonl and result.json.
        report: called with each new row.

    Raises:
        UsageError: an impossible budget, or `work` holds a search of something else.
        OutputError: disk full.
    """
    check_possible(space, teacher, device)
    work.mkdir(parents=True, exist_ok=True)
    study = _open(work, {**plan.identity, "space": space.to_json(), "device": asdict(device)}, plan.seed)
    _take_up(study)
    if not study.get_trials(deepcopy=False):
        for candidate in space.whole(teacher, lambda size: not _over(size, device)):
            study.enqueue_trial(asdict(candidate))

    def objective(trial: Trial) -> float:
        return _try(trial, study, device, space, teacher, evaluate)

    fruitless = 0
    rows = rows_of(study)
    while not _done(rows, plan) and not _exhausted(rows, space) and fruitless < UNSEEN_AFTER:
        study.optimize(objective, n_trials=1, catch=(_Failed,))
        rows = rows_of(study)
        fruitless = 0 if rows[-1].worked else fruitless + 1
        if rows[-1].worked:
            ledger.write(rows, work / LEDGER)
        report(rows[-1])
    found = outcome(rows, device)
    ledger.write(found.rows, work / LEDGER)
    tables.write(work / RESULT, json.dumps(found.to_json(), indent=1, ensure_ascii=False) + "\n")
    return found


def _done(rows: list[Row], plan: Plan) -> bool:
    worked = [row for row in rows if row.worked]
    spent = sum(row.seconds for row in rows)
    return (plan.trials is not None and len(worked) >= plan.trials) or (
        plan.seconds is not None and spent >= plan.seconds
    )


def _exhausted(rows: list[Row], space: Space) -> bool:
    """Whether every recipe of the space has its row."""
    return len({tuple(row.recipe.values()) for row in rows}) == math.prod(map(len, space.to_json().values()))


def _try(trial: Trial, study: Study, device: DeviceProfile, space: Space, teacher: Dims, evaluate: Evaluate) -> float:
    """One trial: its score; the row is kept with it, whatever comes.

    Raises:
        TrialPruned: it was cut. _Failed: it failed. OutputError: the disk is full, no trial's fault.
    """
    from optuna import TrialPruned

    began = time.monotonic()
    candidate = space.suggest(trial)
    size = size_of(teacher, candidate)
    row = Row(trial.number, "cut", asdict(candidate), size.parameters, size.bytes)

    def keep(state: ledger.State, reason: str = "", **values: Any) -> Row:
        kept = replace(row, state=state, reason=reason, seconds=round(time.monotonic() - began, 3), **values)
        trial.set_user_attr("row", asdict(kept))
        return kept

    try:
        _look(row, study, size, device)
    except Cut as cut:
        keep("cut", str(cut), worked=False)
        raise TrialPruned(str(cut)) from None
    losses: list[float] = []

    def check_loss(value: float) -> None:
        losses.append(round(value, 4))
        trial.report(value, 0)
        if not math.isfinite(value) or trial.should_prune():
            raise Cut(f"fp32 loss {value:.3f} before training is in the worst quarter of the trials so far")

    def facts(found: Measured | None) -> dict[str, Any]:
        loss = {"loss": losses[-1]} if losses else {}
        return loss if found is None else {**loss, **asdict(found), "estimated": False}

    try:
        found = evaluate(candidate, device, check_loss)
    except Cut as cut:
        keep("cut", str(cut), **facts(cut.measured))
        raise TrialPruned(str(cut)) from None
    except OutputError:
        raise
    except DeviceAsrError as error:
        keep("failed", str(error), **facts(None))
        raise _Failed(str(error)) from error
    return score(keep("complete", **facts(found)), device)


def score(row: Row, device: DeviceProfile) -> float:
    """What the sampler minimizes: WER plus the excess over each budget."""
    return (1.0 if row.wer is None else row.wer) + sum(miss.excess for miss in misses(row.measured(), device))


def _look(row: Row, study: Study, size: Size, device: DeviceProfile) -> None:
    """The looks that cost nothing.

    Raises:
        Cut: too large by estimate, or tried before.
    """
    for before in rows_of(study):
        if before.worked and before.recipe == row.recipe:
            raise Cut(f"the same recipe as trial {before.trial}")
    over = _over(size, device)
    if over:
        raise Cut(f"estimated {over[0]}")


# -- the study on disk -------------------------------------------------------------------------------


def _open(work: Path, identity: Mapping[str, Any], seed: int) -> Study:
    import optuna
    from sqlalchemy.exc import DatabaseError

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    path = work / STORAGE
    try:
        study = optuna.create_study(
            storage=f"sqlite:///{path.resolve()}",
            study_name=STUDY,
            load_if_exists=True,
            direction="minimize",
            pruner=optuna.pruners.PercentilePruner(WORST_QUARTER, n_startup_trials=WARM_UP),
        )
        # seeded by where it stands: one seed for all would draw the first trials again after every kill
        study.sampler = optuna.samplers.TPESampler(seed=seed + len(study.trials))
        wanted = json.loads(json.dumps(identity))
        found = study.user_attrs.get("identity")
        if found is None:
            study.set_user_attr("identity", wanted)
    except DatabaseError as error:
        raise OutputError(
            f"{path} cannot be used ({error.orig}); free some of the disk, or choose another --work."
        ) from None
    if found is not None and found != wanted:
        other = next(key for key in {**wanted, **found} if wanted.get(key) != found.get(key))
        raise UsageError(
            f"{work} holds a search with another {other} ({_short(found.get(other))} instead of "
            f"{_short(wanted.get(other))}); choose another --work."
        )
    return study


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."


def rows_of(study: Study) -> list[Row]:
    """The rows of all trials that came to an end, oldest first."""
    return [
        ledger.from_record(trial.user_attrs["row"])
        for trial in study.get_trials(deepcopy=False)
        if "row" in trial.user_attrs and trial.state.is_finished()
    ]


def _take_up(study: Study) -> None:
    """Queues the trials that a kill cut short; one whose row was written is closed and tried no more."""
    import optuna
    from optuna.trial import TrialState

    trials = study.get_trials()
    for trial in trials:
        if trial.state == TrialState.RUNNING:
            study.tell(trial.number, state=TrialState.FAIL)
    later = [trial.params or trial.system_attrs.get("fixed_params") for trial in trials]
    for trial in trials:
        lost = trial.state in (TrialState.RUNNING, TrialState.FAIL) and "row" not in trial.user_attrs
        if lost and trial.params and trial.params not in later[trial.number + 1 :]:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                study.enqueue_trial(trial.params)
