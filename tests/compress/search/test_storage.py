"""Several processes on one search: they share its trials, and a kill of one loses nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from compress.evaluate.measurement import read_rows
from compress.search import owner
from compress.search.owner import is_alive
from compress.search.search import LEDGER
from compress.search.storage import mend, shown
from compress.search.study import open_study
from device_asr.errors import OutputError, UsageError
from tests.compress.search.test_search import PLAN, Landscape, run
from tests.support.paths import ROOT

TRIALS = 8
SCRIPT = textwrap.dedent("""
    import sys, time
    from dataclasses import replace
    from pathlib import Path
    from tests.compress.search.test_search import PLAN, Landscape, run
    work, storage, log, trials, patience = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), *map(float, sys.argv[4:])
    class Logged(Landscape):
        def __call__(self, candidate, device, check_loss):
            with log.open("a") as file:
                file.write(f"{work.name} {candidate.key}\\n")
            time.sleep(patience if len(self.seen) == 1 else 0.2)
            return super().__call__(candidate, device, check_loss)
    run(work, Logged(), plan=replace(PLAN, trials=int(trials), storage=storage))
""")


def storage_of(kind: str, folder: Path) -> str:
    return str(folder / "search.journal") if kind == "journal" else f"sqlite:///{folder}/shared.sqlite"


def start(work: Path, storage: str, log: Path, patience: float = 0.2) -> subprocess.Popen[bytes]:
    """A search in a process of its own, which is slow in its second trial."""
    arguments = [str(work), storage, str(log), str(TRIALS), str(patience)]
    return subprocess.Popen([sys.executable, "-c", SCRIPT, *arguments], env={**os.environ, "PYTHONPATH": str(ROOT)})


def evaluated(log: Path) -> list[tuple[str, str]]:
    """Who evaluated which recipe, in order."""
    return [(who, key) for who, key in map(str.split, log.read_text().splitlines())] if log.exists() else []


def wait_for(log: Path, who: str, count: int) -> None:
    deadline = time.monotonic() + 120
    while sum(one == who for one, _ in evaluated(log)) < count:
        assert time.monotonic() < deadline, evaluated(log)
        time.sleep(0.02)


@pytest.mark.parametrize("kind", ["journal", pytest.param("database", marks=pytest.mark.slow)])
def test_two_processes_share_a_search_and_a_killed_ones_trial_is_done_by_the_other(tmp_path: Path, kind: str) -> None:
    storage, log = storage_of(kind, tmp_path), tmp_path / "log"
    one = start(tmp_path / "one", storage, log, patience=60)
    wait_for(log, "one", 2)
    two = start(tmp_path / "two", storage, log)
    try:
        wait_for(log, "two", 2)
        (_, first), (_, cut) = [pair for pair in evaluated(log) if pair[0] == "one"]
        assert cut not in [key for who, key in evaluated(log) if who == "two"], "its owner lives"
        one.send_signal(signal.SIGKILL)
        one.wait()
        assert two.wait(timeout=120) == 0
    finally:
        for process in (one, two):
            process.kill()
            process.wait()
    times = Counter(key for _, key in evaluated(log))
    assert times.pop(cut) == 2 and ("two", cut) in evaluated(log)
    assert set(times.values()) == {1}, "no other recipe was evaluated twice"
    rows = [row for row in read_rows(tmp_path / "two" / LEDGER) if row.worked]
    assert len(rows) == TRIALS and {first, cut} <= {Path(row.bundle).name for row in rows}


@pytest.mark.parametrize("kind", ["journal", "database"])
def test_the_same_command_goes_on_with_a_shared_storage(tmp_path: Path, kind: str) -> None:
    plan = replace(PLAN, storage=storage_of(kind, tmp_path))
    first, second = Landscape(), Landscape()
    run(tmp_path / "one", first, plan=replace(plan, trials=2))
    found = run(tmp_path / "two", second, plan=replace(plan, trials=3))
    assert (len(first.seen), len(second.seen)) == (2, 1)
    assert sum(row.worked for row in found.rows) == 3
    assert not (tmp_path / "one" / "search.sqlite").exists()
    with pytest.raises(UsageError, match=r"holds a search with another teacher .*; choose another --storage"):
        run(tmp_path / "three", plan=replace(plan, identity={"teacher": "other"}))


def test_a_journal_that_a_kill_cut_in_mid_line_goes_on(tmp_path: Path) -> None:
    plan = replace(PLAN, trials=2, storage=str(tmp_path / "search.journal"))
    run(tmp_path, plan=plan)
    with open(plan.storage, "ab") as file:
        file.write(b'{"op_code": 4, "worker')
    landscape = Landscape()
    run(tmp_path, landscape, plan=replace(plan, trials=3))
    assert len(landscape.seen) == 1


def test_a_whole_journal_is_left_as_it_is(tmp_path: Path) -> None:
    for data in (b"", b'{"a": 1}\n'):
        (tmp_path / "journal").write_bytes(data)
        mend(tmp_path / "journal")
        assert (tmp_path / "journal").read_bytes() == data
    mend(tmp_path / "none")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["journal"]


@pytest.mark.parametrize(
    ("storage", "kind", "words"),
    [
        ("{}/journal", OutputError, r"journal cannot be used \(Expecting value"),
        ("sqlite:///{}/none/there.sqlite", OutputError, "cannot be used .*unable to open database file"),
        ("nothing://host/name", UsageError, "--storage nothing://host/name: wanted a database URL such as postgresql"),
        ("mysql+none://me:secret@host/name", UsageError, r"--storage mysql\+none://me:\*\*\*@host/name: "),
        ("postgresql+asyncpg://host/name", UsageError, "driver is not installed .*; install it with pip"),
    ],
)
def test_a_storage_that_cannot_be_used_is_told_in_a_sentence(
    tmp_path: Path, storage: str, kind: type[Exception], words: str
) -> None:
    (tmp_path / "journal").write_text("not a journal\n" * 3)
    with pytest.raises(kind, match=words):
        open_study(tmp_path, storage.format(tmp_path), {}, 0)


def test_a_password_is_not_shown() -> None:
    assert shown("postgresql://me:secret@host:5432/name", Path()) == "postgresql://me:***@host:5432/name"
    assert shown("postgresql://host:5432/name", Path()) == "postgresql://host:5432/name"
    assert shown(None, Path("work")) == "work/search.sqlite"


def running(**attributes: object) -> FrozenTrial:
    trial = create_trial(state=TrialState.RUNNING, user_attrs=attributes)
    return trial


def test_an_owner_is_alive_by_its_process_here_and_by_its_word_elsewhere() -> None:
    here, now = owner.owner(), time.time()
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert is_alive(running(owner=here), now)
    assert not is_alive(running(owner={**here, "pid": ended.pid}), now)
    assert not is_alive(running(owner={**here, "began": here["began"] - 100}), now), "another process has its number"
    elsewhere = {**here, "host": "elsewhere"}
    assert is_alive(running(owner=elsewhere, seen=now - owner.SILENT + 5), now)
    assert not is_alive(running(owner=elsewhere, seen=now - owner.SILENT - 5), now)


def test_a_trial_without_an_owner_is_young_or_dead() -> None:
    trial = running()
    assert trial.datetime_start is not None
    assert is_alive(trial, trial.datetime_start.timestamp() + 1)
    assert not is_alive(trial, trial.datetime_start.timestamp() + owner.ASKED + 1)
