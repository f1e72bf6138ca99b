"""Fault and fuzz tests up to any count, resumable over days: `python -m tests.faults.soak --count 1000`.

A subject is a module beside this one with `run(seed, count) -> Outcome`, the same code that `make test` runs with
small counts. After each batch the count reached is saved in `.caravan-soak.json`, so a stopped soak goes on where
it was; each finished session of a subject adds a row to docs/soak.md: commit, seeds, count and result.
"""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from tests.faults import regions
from tests.faults.outcome import Outcome

ROOT = Path(__file__).resolve().parent.parent.parent
STATE = ROOT / ".caravan-soak.json"
RECORD = ROOT / "docs" / "soak.md"

#: subject -> (default count, batch)
SUBJECTS = {
    "fuzz_requests": (10_000, 500),
    "broken_files": (1_000, 50),
    "trainer_kill": (100, 2),
    "materializer_kill": (100, 2),
    "promotion_race": (1_000, 100),
    "unknown_callers": (10_000, 500),
    "canary_attackers": (10_000, 1_000),
    "event_doors": (100_000, 5_000),
    "bad_releases": (90, 9),
    "controller_kill": (200, 20),
    "snapshot_kill": (200, 50),
    "snapshot_flip": (1_000, 100),
    "recover_kill": (20, 2),
    "rehearsals": (40, 8),
    "drills": (20, 5),
}
HEADER = """# Soak

The fault and fuzz tests of `tests/faults/`, run with large counts by `make soak`. `make test` runs the same code with
small ones. Every row is one session: seeds are consecutive, so `seed` and `count` repeat it.

| when (UTC) | commit | subject | first seed | count | failures | seconds |
|---|---|---|---:|---:|---:|---:|
"""


def commit() -> str:
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return described.stdout.strip()


def record(subject: str, seed: int, count: int, failures: int, seconds: float) -> None:
    text = RECORD.read_text() if RECORD.exists() else HEADER
    when = datetime.now(UTC).strftime("%Y-%m-%d %H:%M")
    RECORD.write_text(f"{text}| {when} | {commit()} | {subject} | {seed} | {count} | {failures} | {seconds:.0f} |\n")


def soak(subject: str, target: int, batch: int) -> list[str]:
    """Run `subject` until `target` cases were tried in all sessions; returns what failed in this one."""
    state = json.loads(STATE.read_text()) if STATE.exists() else {}
    reached = first = int(state.get(subject, 0))
    failures: list[str] = []
    started = time.monotonic()
    module = importlib.import_module(f"tests.faults.{subject}")
    try:
        while reached < target:
            outcome: Outcome = module.run(seed=reached, count=min(batch, target - reached))
            failures += outcome.failures
            reached += outcome.count
            state[subject] = reached
            STATE.write_text(json.dumps(state, indent=1))
            print(f"{subject}: {reached}/{target}, {len(failures)} failures", flush=True)
            for failure in outcome.failures:
                print(f"  {failure}", flush=True)
    finally:
        if reached > first:
            record(subject, first, reached - first, len(failures), time.monotonic() - started)
    return failures


def main() -> int:
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--only", choices=SUBJECTS, action="append", help="this subject (may be repeated)")
    parser.add_argument("--count", type=int, help="cases to reach over all sessions (default: each subject's own)")
    parser.add_argument("--again", action="store_true", help="forget the counts reached so far")
    options = parser.parse_args()
    if options.again:
        STATE.unlink(missing_ok=True)
    failed = False
    try:
        for subject in options.only or SUBJECTS:
            target, batch = SUBJECTS[subject]
            failed |= bool(soak(subject, options.count or target, batch))
    finally:
        regions.close()
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
