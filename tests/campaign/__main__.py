"""Runs the campaign and prints its table.

    python -m tests.campaign                                   every kind, at most 30 minutes on two cores
    python -m tests.campaign --kinds sound,bundle --count 500  these kinds, 500 inputs each
    python -m tests.campaign --product FOLDER                  another checkout of the product, for the table before
    python -m tests.campaign --again FILE                      the cases of a file of crashes

An input is made of a seed, its kind and its number, so that the same command makes the same inputs. Each runs in a
process of its own with limits: 1 GB of memory beyond the idle process, 20 s of processor, 2 minutes, files of 128 MB.
A failure is a traceback, a signal, a limit that was hit, a lost final, an exit status of 0 with nothing said, another
one without a sentence, a control character written, or broken JSON. Failures are appended to --crashes as cases.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.campaign import case
from tests.campaign.case import Case
from tests.campaign.chance import Chance
from tests.campaign.kinds import FAULTS, KINDS
from tests.campaign.runner import Runner
from tests.campaign.verdict import failure
from tests.support.paths import ROOT

MINUTES, CORES, SEED = 30.0, 2, 1
COUNTS = 1_000_000  # of a kind, where the time ends it


@dataclass
class Row:
    """A kind's inputs so far, its failures by their words, and the first case of each."""

    count: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    first: dict[str, Case] = field(default_factory=dict)

    def add(self, tried: Case, found: str | None) -> None:
        self.count += 1
        if found is not None:
            self.failures[found] += 1
            self.first.setdefault(found, tried)


def cases(kinds: Sequence[str], seed: int, count: int, bases: Path) -> Iterator[Case]:
    """The cases of all kinds in turn, so that whatever the time ends has had its share of each."""
    for number in range(count):
        for kind in kinds:
            yield KINDS[kind].draw(Chance(seed, kind, number), bases)


def campaign(
    given: Iterator[Case], slow: Iterator[Case], cores: int, seconds: float, bases: Path, scratch: Path, product: Path
) -> dict[str, Row]:
    """Runs cases on `cores` cores, and slow ones beside, until they or the seconds are over; a row for each kind."""
    rows: dict[str, Row] = {}
    lock, end, errors = threading.Lock(), time.monotonic() + seconds, list[BaseException]()

    def work(number: int) -> None:
        try:
            own = slow if number == cores else given
            with Runner(bases, scratch / f"core-{number}", product) as runner:
                while time.monotonic() < end and not errors:
                    with lock:
                        tried = next(own, None)
                    if tried is None:
                        return
                    found = failure(tried, runner.run(tried))
                    with lock:
                        rows.setdefault(tried.kind, Row()).add(tried, found)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,), name=f"core-{number}") for number in range(cores + 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return rows


def table(rows: dict[str, Row]) -> str:
    """The rows as Markdown, and under them the kinds of failure."""
    lines = ["| kind | inputs | failures |", "|---|---|---|"]
    lines += [f"| {kind} | {row.count} | {row.failures.total()} |" for kind, row in rows.items()]
    total = sum(row.count for row in rows.values()), sum(row.failures.total() for row in rows.values())
    lines.append(f"| all | {total[0]} | {total[1]} |")
    for kind, row in rows.items():
        lines += [f"  {kind}: {count} x {what}" for what, count in row.failures.most_common()]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the campaign; the exit status says whether there was a failure."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaign", description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=MINUTES, help="at most")
    parser.add_argument("--cores", type=int, default=CORES)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--kinds", default=",".join(KINDS), help="names with commas")
    parser.add_argument("--count", type=int, default=COUNTS, help="of each kind")
    parser.add_argument("--product", type=Path, default=ROOT, help="checkout whose device_asr and compress are run")
    parser.add_argument("--crashes", type=Path, help="file that gets a case for each failure of another kind")
    parser.add_argument("--again", type=Path, help="run the cases of this file instead")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")
    given = parser.parse_args(arguments)
    kinds = given.kinds.split(",")
    if unknown := set(kinds) - set(KINDS):
        parser.error(f"wanted kinds of {', '.join(KINDS)}, found {', '.join(sorted(unknown))}")
    with tempfile.TemporaryDirectory(prefix="campaign-") as name:
        bases, scratch = Path(name, "bases"), Path(name, "scratch")
        bases.mkdir()
        if given.again is not None:
            known = [case.read(line) for line in given.again.read_text().splitlines()]
            kinds = sorted({one.kind for one in known})
        for kind in kinds:
            KINDS[kind].prepare(bases)
        if given.again is not None:
            chosen, slow = (iter([c for c in known if (c.kind == FAULTS) is beside]) for beside in (False, True))
        else:
            chosen = cases([kind for kind in kinds if kind != FAULTS], given.seed, given.count, bases)
            slow = cases([kind for kind in kinds if kind == FAULTS], given.seed, given.count, bases)
        rows = campaign(chosen, slow, given.cores, 60 * given.minutes, bases, scratch, given.product.resolve())
    if given.json:
        print(json.dumps({kind: {"count": row.count, "failures": row.failures} for kind, row in rows.items()}))
    else:
        print(table(rows))
    if given.crashes is not None:
        with given.crashes.open("a", encoding="utf-8") as file:
            file.writelines(one.line() + "\n" for row in rows.values() for one in row.first.values())
    return int(any(row.failures for row in rows.values()))


if __name__ == "__main__":
    sys.exit(main())
