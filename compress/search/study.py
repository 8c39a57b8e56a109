"""A search on disk: Optuna's storage with a row for each trial.

The storage survives a kill at any point, and several processes may work on one search.
"""

from __future__ import annotations

import json
import os
import platform
import time
import warnings
import zlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress.evaluate.measurement import Measurement, from_json
from compress.search.owner import is_alive
from compress.search.storage import open_storage, shown, told
from device_asr.errors import UsageError

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.trial import FrozenTrial

STUDY = "search"
ROW = "row"  # the attribute of a trial that holds its measurement
WARM_UP = 5  # trials before one is cut for its loss
WORST_QUARTER = 75.0  # percentile of the losses so far


def keep_row(trial: Trial, row: Measurement) -> None:
    """Writes a trial's row into the storage."""
    trial.set_user_attr(ROW, row.to_json())


def open_study(work: Path, storage: str | None, identity: Mapping[str, Any], seed: int) -> Study:
    """Opens the study of a search, or makes a new one.

    Args:
        storage: see `compress.search.storage`.

    Raises:
        UsageError: it is a search of something else, or `storage` is none. OutputError: it cannot be used.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    where = shown(storage, work)
    with told(where, opening=True), warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study = optuna.create_study(
            storage=open_storage(storage, work),
            study_name=STUDY,
            load_if_exists=True,
            direction="minimize",
            pruner=optuna.pruners.PercentilePruner(WORST_QUARTER, n_startup_trials=WARM_UP),
        )
        # trials that run elsewhere count as bad ones, so that two machines do not try neighbors of the same trial
        study.sampler = optuna.samplers.TPESampler(seed=_seed(study, storage, seed), constant_liar=True)
        wanted = json.loads(json.dumps(identity))
        found = study.user_attrs.get("identity")
        if found is None:
            study.set_user_attr("identity", wanted)
    if found is not None and found != wanted:
        other = next(key for key in {**wanted, **found} if wanted.get(key) != found.get(key))
        raise UsageError(
            f"{work if storage is None else where} holds a search with another {other} ({_short(found.get(other))} "
            f"instead of {_short(wanted.get(other))}); choose another --{'work' if storage is None else 'storage'}."
        )
    return study


def _seed(study: Study, storage: str | None, seed: int) -> int:
    """A seed that moves on with the trials: a constant one would draw the first trials again after every kill.

    Processes that begin at the same time draw differently.
    """
    moved = seed + len(study.trials)
    return moved if storage is None else moved + 1_000 * zlib.crc32(f"{platform.node()} {os.getpid()}".encode()) % 2**31


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."


def rows_of(study: Study) -> list[Measurement]:
    """The rows of all trials that came to an end, oldest first."""
    return [
        from_json(trial.user_attrs[ROW])
        for trial in study.get_trials(deepcopy=False)
        if ROW in trial.user_attrs and trial.state.is_finished()
    ]


def running_elsewhere(study: Study, trial: int) -> list[FrozenTrial]:
    """Trials that living processes work on, without the one of this number."""
    from optuna.trial import TrialState

    now = time.time()
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    return [one for one in running if one.number != trial and is_alive(one, now)]


def given_up(study: Study, trial: int) -> bool:
    """Whether another process closed the trial of this number without a row."""
    found = study.get_trials(deepcopy=False)[trial]
    return found.state.is_finished() and ROW not in found.user_attrs


def queue_unfinished(study: Study) -> None:
    """Queues the trials that a kill cut short; a trial whose row was written is closed and not tried again.

    Trials of living processes, here or on other machines, are left alone.
    """
    import optuna
    from optuna.trial import TrialState

    now = time.time()
    trials = study.get_trials()
    closed = []
    for trial in trials:
        if trial.state == TrialState.RUNNING and not is_alive(trial, now):
            with suppress(ValueError):  # another process was faster, and queues it
                study.tell(trial.number, state=TrialState.FAIL)
                closed.append(trial.number)
    later = [trial.params or trial.system_attrs.get("fixed_params") for trial in trials]
    for trial in trials:
        lost = trial.number in closed or trial.state == TrialState.FAIL
        if lost and ROW not in trial.user_attrs and trial.params and trial.params not in later[trial.number + 1 :]:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                study.enqueue_trial(trial.params)
