"""The search for the best model that a device holds: trials over recipes, cheap checks first, a ledger that lasts.

The same command goes on after a kill: the trial that was cut short is tried anew, and the stages that were done by then
are found on disk. Several machines work on one search where they share its storage.
"""

from __future__ import annotations

import json
import math
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress import tables
from compress.evaluate.measurement import Measurement, State, write_rows
from compress.networks.dims import Dims
from compress.search.device_profile import DeviceProfile, Miss, misses
from compress.search.outcome import Outcome, outcome, score
from compress.search.owner import owned
from compress.search.space import Candidate, Size, Space, size_of
from compress.search.storage import shown, told
from compress.search.study import given_up, keep_row, open_study, queue_unfinished, rows_of, running_elsewhere
from device_asr.errors import DeviceAsrError, OutputError, UsageError

if TYPE_CHECKING:
    from optuna import Study, Trial

LEDGER, RESULT = "ledger.jsonl", "result.json"
UNSEEN_AFTER = 100  # trials in a row that only repeat or exceed the size by estimate: nothing new is left


class _Failed(Exception):
    """A trial whose failure is in its row; the search goes on."""


class Cut(Exception):
    """Ends a trial that is not worth going on with; `measured`: its figures so far."""

    def __init__(self, reason: str, measured: Measurement | None = None) -> None:
        super().__init__(reason)
        self.measured = measured


CheckLoss = Callable[[float], None]  # raises Cut where the fp32 loss is hopeless
Evaluate = Callable[[Candidate, DeviceProfile, CheckLoss], Measurement]  # raises Cut, DeviceAsrError


@dataclass(frozen=True)
class Plan:
    """How long to search: trials that were worked on, and seconds spent on them, both over all runs; None: no limit.

    storage: where the trials are kept, see `compress.search.storage`; None: in the work folder.
    identity: what the trials depend on besides their recipe (teacher, corpus, clips); a ledger of another
    identity is refused.
    """

    trials: int | None
    seconds: float | None
    identity: Mapping[str, Any]
    seed: int = 0
    storage: str | None = None


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
            f"({least.vocabulary} tokens, {least.encoder_layers} + {least.decoder_layers} layers, {least.bits} bits, "
            f"{size.parameters / 1e6:.1f} M parameters) takes about {size.bytes / 1e6:.1f} MB; raise size_mb, or give "
            "a smaller teacher."
        )


def _over(size: Size, device: DeviceProfile) -> tuple[Miss, ...]:
    """The budgets that an estimate exceeds."""
    return misses(Measurement("estimate", parameters=size.parameters, bytes=size.bytes), device)


def search(
    device: DeviceProfile,
    space: Space,
    teacher: Dims,
    evaluate: Evaluate,
    work: Path,
    plan: Plan,
    report: Callable[[Measurement], None] = lambda _: None,
) -> Outcome:
    """Tries recipes until the plan is done or nothing new is left; goes on where an earlier run was cut.

    The first trials are whole networks, see `Space.whole`. The sampler (TPE) minimizes WER plus every budget's
    excess, so that a bundle twice too large is as bad as a WER 100 % higher. Before a trial is built, its bytes
    are estimated; `evaluate` reports its fp32 loss before training, and the worst quarter is cut.

    Args:
        work: folder of ledger.jsonl, result.json and, unless the plan says otherwise, the storage.
        report: called with each new row.

    Raises:
        UsageError: an impossible budget, or the storage holds a search of something else.
        OutputError: the disk is full, or the storage cannot be used.
    """
    check_possible(space, teacher, device)
    work.mkdir(parents=True, exist_ok=True)
    identity = {**plan.identity, "space": space.to_json(), "device": asdict(device)}
    study = open_study(work, plan.storage, identity, plan.seed)
    with told(shown(plan.storage, work)):
        rows = _tried(study, device, space, teacher, evaluate, work, plan, report)
    found = outcome(rows, device)
    write_rows(found.rows, work / LEDGER)
    tables.write(work / RESULT, json.dumps(found.to_json(), indent=1, ensure_ascii=False) + "\n")
    return found


def _tried(
    study: Study,
    device: DeviceProfile,
    space: Space,
    teacher: Dims,
    evaluate: Evaluate,
    work: Path,
    plan: Plan,
    report: Callable[[Measurement], None],
) -> list[Measurement]:
    """Runs trials until the plan is done or nothing new is left; the rows of all processes that share the search."""
    from optuna.exceptions import UpdateFinishedTrialError

    if not study.get_trials(deepcopy=False):
        for candidate in space.whole(teacher, lambda size: not _over(size, device)):
            study.enqueue_trial(asdict(candidate))

    own = ""  # name of this process's last trial

    def objective(trial: Trial) -> float:
        nonlocal own
        own = str(trial.number)
        with owned(trial):
            return _try(trial, study, device, space, teacher, evaluate)

    fruitless = 0
    rows = rows_of(study)
    while not _done(rows, plan, study) and not _exhausted(rows, space) and fruitless < UNSEEN_AFTER:
        queue_unfinished(study)
        try:
            study.optimize(objective, n_trials=1, catch=(_Failed,))
        except (UpdateFinishedTrialError, ValueError):
            if not given_up(study, int(own)):
                raise
            continue  # this process was silent for so long that another one tries the recipe
        rows = rows_of(study)
        last = next(row for row in rows if row.name == own)
        fruitless = 0 if last.worked else fruitless + 1
        if last.worked:
            write_rows(rows, work / LEDGER)
        report(last)
    return rows


def _done(rows: list[Measurement], plan: Plan, study: Study) -> bool:
    """Whether enough was tried; what other processes work on counts too."""
    worked = sum(row.worked for row in rows) + len(running_elsewhere(study, -1))
    spent = sum(row.seconds or 0.0 for row in rows)
    return (plan.trials is not None and worked >= plan.trials) or (plan.seconds is not None and spent >= plan.seconds)


def _exhausted(rows: list[Measurement], space: Space) -> bool:
    """Whether every recipe of the space has its row."""
    return len({tuple(row.settings.values()) for row in rows}) == math.prod(map(len, space.to_json().values()))


def _try(trial: Trial, study: Study, device: DeviceProfile, space: Space, teacher: Dims, evaluate: Evaluate) -> float:
    """Runs one trial, keeps its row in any case, and returns its score.

    Raises:
        TrialPruned: it was cut. _Failed: it failed. OutputError: the disk is full, which is not the trial's fault.
    """
    from optuna import TrialPruned

    began, losses = time.monotonic(), list[float]()
    candidate = space.suggest(trial)
    size = size_of(teacher, candidate)
    row = Measurement(
        str(trial.number),
        settings=asdict(candidate),
        parameters=size.parameters,
        bytes=size.bytes,
        estimated=True,
    )

    def keep(known: Measurement, state: State, reason: str = "", worked: bool = True) -> Measurement:
        kept = replace(
            known,
            name=row.name,
            settings=row.settings,
            state=state,
            reason=reason,
            worked=worked,
            host=platform.node(),
            seconds=round(time.monotonic() - began, 3),
            loss=losses[-1] if losses else None,
        )
        keep_row(trial, kept)
        return kept

    try:
        _check_cheaply(row, study, size, device)
    except Cut as cut:
        keep(row, "cut", str(cut), worked=False)
        raise TrialPruned(str(cut)) from None

    def check_loss(value: float) -> None:
        losses.append(round(value, 4))
        trial.report(value, 0)
        if not math.isfinite(value) or trial.should_prune():
            raise Cut(f"fp32 loss {value:.3f} before training is in the worst quarter of the trials so far")

    try:
        found = evaluate(candidate, device, check_loss)
    except Cut as cut:
        keep(cut.measured or row, "cut", str(cut))
        raise TrialPruned(str(cut)) from None
    except OutputError:
        raise
    except DeviceAsrError as error:
        keep(row, "failed", str(error))
        raise _Failed(str(error)) from error
    return score(keep(found, "complete"), device)


def _check_cheaply(row: Measurement, study: Study, size: Size, device: DeviceProfile) -> None:
    """The checks that cost nothing.

    Raises:
        Cut: too large by estimate, or tried before.
    """
    for before in rows_of(study):
        if before.worked and before.settings == row.settings:
            raise Cut(f"the same recipe as trial {before.name}")
    for other in running_elsewhere(study, int(row.name)):
        if other.number < int(row.name) and other.params == row.settings:
            raise Cut(f"the same recipe as trial {other.number}, which another process works on")
    over = _over(size, device)
    if over:
        raise Cut(f"estimated {over[0]}")
