"""A search on disk: Optuna's SQLite storage with a row for each trial.

The storage survives a kill at any point (a journal file cut in mid-line cannot be read again).
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress.evaluate.measurement import Measurement, from_json
from device_asr.errors import OutputError, UsageError

if TYPE_CHECKING:
    from optuna import Study, Trial

STORAGE, STUDY = "search.sqlite", "search"
ROW = "row"  # the attribute of a trial that holds its measurement
WARM_UP = 5  # trials before one is cut for its loss
WORST_QUARTER = 75.0  # percentile of the losses so far


def keep_row(trial: Trial, row: Measurement) -> None:
    """Writes a trial's row into the storage."""
    trial.set_user_attr(ROW, row.to_json())


def open_study(work: Path, identity: Mapping[str, Any], seed: int) -> Study:
    """Opens the study in `work`, or makes a new one.

    Raises:
        UsageError: it is a search of something else. OutputError: it cannot be used.
    """
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
        # the seed moves on with the trials: a constant one would draw the first trials again after every kill
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


def rows_of(study: Study) -> list[Measurement]:
    """The rows of all trials that came to an end, oldest first."""
    return [
        from_json(trial.user_attrs[ROW])
        for trial in study.get_trials(deepcopy=False)
        if ROW in trial.user_attrs and trial.state.is_finished()
    ]


def queue_unfinished(study: Study) -> None:
    """Queues the trials that a kill cut short; a trial whose row was written is closed and not tried again."""
    import optuna
    from optuna.trial import TrialState

    trials = study.get_trials()
    for trial in trials:
        if trial.state == TrialState.RUNNING:
            study.tell(trial.number, state=TrialState.FAIL)
    later = [trial.params or trial.system_attrs.get("fixed_params") for trial in trials]
    for trial in trials:
        lost = trial.state in (TrialState.RUNNING, TrialState.FAIL) and ROW not in trial.user_attrs
        if lost and trial.params and trial.params not in later[trial.number + 1 :]:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                study.enqueue_trial(trial.params)
