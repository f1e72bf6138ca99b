"""Whole drills in a row, unattended: a region is lost, the other one takes over, nobody helps.

Each writes its page and its figures below `.caravan/rehearsals`; `python -m tests.faults.drills` prints the table of
all that are there, as docs/recovery.md shows it.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from caravan.cli.airflow_api import Airflow
from contracts.settings import Settings
from recovery.drills.report import Score, read_scores, table, write_score
from tests.faults.outcome import Outcome
from tests.scenarios.drill import Meddle, drill, in_peace
from tests.scenarios.two_regions import primary_again, two_regions

KEPT = Path(".caravan") / "rehearsals"


def run(seed: int, count: int) -> Outcome:
    """`count` drills on one stack; the primary is made again after each."""
    outcome = Outcome(count=count)
    with two_regions() as s:
        for number in range(seed, seed + count):
            score = one(primary_again(s))
            write_score(score, KEPT)
            outcome.failures += [f"drill {number}: {failure}" for failure in score.failures()]
    return outcome


def one(s: Settings, *, kind: str = "drill", meddle: Meddle = in_peace) -> Score:
    """One drill as the person on call, whose primary must be the active region."""
    with closing(Airflow.of(s, "oncall")) as oncall:
        oncall.ensure_ready("recover")
        return drill(s, oncall, kind=kind, meddle=meddle)


if __name__ == "__main__":
    print(table([facts for facts in read_scores(KEPT) if facts["kind"] == "drill"]))
