"""The recovery DAG killed: inside each of its tasks, and its whole scheduler between any two of them.

A lost region is recovered as in a drill, while somebody kills what recovers it. A task is killed with SIGKILL in one of
three ways: the process that Airflow started, the `caravan recover` below it, or both. The scheduler is killed with its
workers. Nobody helps; the end must be the one of a drill in peace.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import psutil

from caravan.stack.supervision import supervisor
from contracts.recovery import RESTORE_STEPS
from contracts.settings import Settings
from recovery.drills.report import write_score
from recovery.restore import resume
from tests.faults import drills
from tests.faults.outcome import Outcome
from tests.scenarios.lost_region import meanwhile
from tests.scenarios.two_regions import primary_again, two_regions

#: Seconds into a step, at most, when it is killed. The others are over at once: they are killed on the way there.
INTO = {"database": 5.0, "artifacts": 0.3, "registry": 4.0, "features": 4.0, "engines": 1.0}
ON_THE_WAY = 0.7
LOOK_EVERY = 0.15
WAYS = ("task", "command", "both")
#: The first answer may come so late: every kill of a scheduler costs its start, and each of a task a retry.
PATIENCE = 1500.0


class Killer:
    """Kills inside each step of `inside` once, and the scheduler after each of `after`.

    Called with the run's tasks again and again it sees what is over. Commands are looked for by a thread of its own:
    a short one is over before Airflow has said that its task runs.
    """

    def __init__(
        self,
        s: Settings,
        draw: random.Random,
        *,
        inside: Sequence[str] = RESTORE_STEPS,
        after: Sequence[str] = RESTORE_STEPS[:-1],
    ) -> None:
        self._s = s
        self._draw = draw
        self._inside, self._after = set(inside), set(after)
        self.killed: list[str] = []

    @property
    def left(self) -> list[str]:
        """What was not killed: it was over before."""
        return [name for name in RESTORE_STEPS if name in self._inside] + [
            f"after {n}" for n in RESTORE_STEPS if n in self._after
        ]

    def look(self) -> None:
        """Kill inside a step whose command runs, unless that was done."""
        for name, command in self._commands() if self._inside else ():
            if name in self._inside:
                self._kill_inside(name, command)

    def __call__(self, tasks: Sequence[dict[str, Any]]) -> None:
        states = {task["task_id"]: task["state"] for task in tasks}
        for name in RESTORE_STEPS:
            if states.get(name) == "success" and name in self._after:
                self._after.discard(name)
                self._kill_scheduler()
                self.killed.append(f"after {name}")
                return

    def _kill_inside(self, name: str, command: psutil.Process) -> None:
        way = self._draw.choice(WAYS)
        standby = self._s.of_region("standby")
        while name in INTO and _runs(command) and getattr(resume.read_state(standby), "now", "") != name:
            time.sleep(0.02)
        time.sleep(self._draw.uniform(0, INTO.get(name, ON_THE_WAY)))
        with suppress(psutil.NoSuchProcess):
            # the task's own process lies between the command and the executor's worker
            doomed = {"task": [command.parent()], "command": [command], "both": [command.parent(), command]}[way]
            if _runs(command):
                for process in filter(None, doomed):
                    process.kill()
                self._inside.discard(name)
                self.killed.append(f"{name}, {way}")

    def _commands(self) -> Iterator[tuple[str, psutil.Process]]:
        """Each `caravan recover --through NAME` of this stack, with its NAME."""
        for process in psutil.Process(supervisor_pid(self._s)).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                line = process.cmdline()
                if "recover" in line and "--through" in line:
                    yield line[line.index("--through") + 1], process

    def _kill_scheduler(self) -> None:
        scheduler = psutil.Process(supervisor.processes(self._s)["control-scheduler"]["pid"])
        for process in (scheduler, *scheduler.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                process.kill()


def _runs(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def supervisor_pid(s: Settings) -> int:
    return int((supervisor.run_folder(s) / "supervisord.pid").read_text())


def run(seed: int, count: int) -> Outcome:
    """`count` recoveries, each killed inside every task and after every task."""
    outcome = Outcome(count=count)
    with two_regions() as s:
        for number in range(seed, seed + count):
            s = primary_again(s)
            killer = Killer(s, random.Random(number))
            with meanwhile(killer.look, every=LOOK_EVERY):
                score = replace(drills.one(s, kind="killed", meddle=killer), rto=PATIENCE)
            write_score(score, drills.KEPT)
            print(f"  killed: {'; '.join(killer.killed)}", flush=True)
            outcome.failures += [f"seed {number}: {failure}" for failure in score.failures()]
            outcome.failures += [f"seed {number}: {name} was over before it could be killed" for name in killer.left]
    return outcome
