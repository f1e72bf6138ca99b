"""Cases that our tests prove already and that take minutes, or engines of their own: run by their names."""

from __future__ import annotations

import os
import re
import subprocess
import sys

from tests.cases.case import Case, Given, Looks
from tests.conftest import REPOSITORY

#: case -> (title, what is right, node ids)
PROVEN: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "33": (
        "an uptime check is no shopper", "crawlers and checks count for nothing",
        ("tests/serving/edge/test_replies.py", "tests/serving/edge/test_callers.py"),
    ),
    "47": (
        "pruned under a restore", "what a restore needs stays; else its name and a way on",
        ("tests/recovery/snapshots", "tests/recovery/test_steps.py"),
    ),
    "49": (
        "a canary at night", "HOLD with the counts that are missing; overdue is told",
        ("tests/releases/rollout", "tests/monitoring/test_canary_judge.py"),
    ),
    "N3": (
        "shoppers weigh alike", "noise is a random order, and the gate refuses it",
        ("tests/training/test_ties.py::test_on_noise_every_ranker_is_a_random_order_and_the_gate_refuses",
         "tests/training/data/test_machines.py"),
    ),
    "N6": (
        "errors of the edge", "one form, in words, each with its own remedy",
        ("tests/serving/edge/test_replies.py", "tests/serving/edge/test_slow_and_many.py"),
    ),
}  # fmt: skip
_COUNTS = re.compile(r"(\d+) (passed|failed|errors?|skipped)")


def _run(looks: Looks, nodes: tuple[str, ...]) -> None:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-o",
        "addopts=",
        "-q",
        "-m",
        "not stack",
        *nodes,
    ]
    own = {name: value for name, value in os.environ.items() if not name.startswith("CARAVAN_")}
    done = subprocess.run(command, cwd=REPOSITORY, env=own, capture_output=True, text=True, check=False, timeout=1_800)
    counts = {word: int(number) for number, word in _COUNTS.findall(done.stdout[-400:])}
    failed = " ".join(line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR")))
    looks.holds(f"{counts.get('passed', 0)} tests pass", done.returncode == 0, failed)
    looks.equal("skipped", 0, counts.get("skipped", 0))


def _case(number: str) -> Case:
    title, right, nodes = PROVEN[number]

    def check(looks: Looks, given: Given) -> None:
        _run(looks, nodes)

    return Case(number, title, right, "tests", check)


CASES = tuple(map(_case, PROVEN))
