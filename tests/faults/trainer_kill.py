"""The trainer dies by kill -9 at a random point; the retried task resumes and ends with the very same model."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import tempfile
import time
from functools import cache
from pathlib import Path

import psutil

from contracts.settings import read_settings
from tests.faults.outcome import Outcome
from tests.training import builders
from training.fitting import launch
from training.jobs import job

#: Kills before a case is left to end.
MOST_KILLS = 3
#: A reference that was trained once, and how many seconds its batches took.
RECIPE = builders.recipe(max_epochs=6, patience=6, batch_tokens=60, learning_rate=0.02, checkpoint_seconds=0.05)


def lay(folder: Path) -> Path:
    return job.write_job(folder, RECIPE, builders.data(count=400), key="trainer-kill")


@cache
def reference() -> tuple[bytes, float]:
    """(weights, seconds of training) of a run that nobody killed."""
    with tempfile.TemporaryDirectory() as name:
        started = time.monotonic()
        result = launch.run(read_settings(home=Path(name)), lay(Path(name) / "job"), say=lambda _: None)
        return (result / job.WEIGHTS).read_bytes(), time.monotonic() - started


def kill_at_random(path: Path, home: Path, draw: random.Random, whole: float) -> bool:
    """Start the trainer and kill it, its starter or both at a random moment; False when it was done before."""
    s = read_settings(home=home)
    child = subprocess.Popen(
        launch.command(s, path, Path(tempfile.mkdtemp(dir=home))), env=launch.environment(s), cwd=launch.ROOT,
        start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        checkpoint = path.parent / "checkpoint.safetensors"
        before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
        if draw.random() < 0.75:  # most kills shall hit the training itself, not the imports before it
            give_up = time.monotonic() + 120
            while child.poll() is None and time.monotonic() < give_up:
                if checkpoint.exists() and checkpoint.stat().st_mtime_ns != before:
                    break
                time.sleep(0.005)
            time.sleep(draw.random() * 0.5)
        else:
            time.sleep(draw.random() * whole)
        if child.poll() is not None:
            return False
        workers = psutil.Process(child.pid).children(recursive=True)
        victims = {"worker": workers, "all": [psutil.Process(child.pid), *workers]}[draw.choice(["worker", "all"])]
        for victim in victims:
            try:
                os.kill(victim.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        return True
    finally:
        try:
            child.wait(timeout=60)  # torchrun notices that its worker is gone
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()


def run(seed: int, count: int) -> Outcome:
    """`count` cases from `seed` on."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    weights, whole = reference()
    outcome = Outcome(count=count)
    for case in range(seed, seed + count):
        draw = random.Random(case)
        with tempfile.TemporaryDirectory() as name:
            path = lay(Path(name) / "job")
            kills = sum(kill_at_random(path, Path(name), draw, whole) for _ in range(draw.randint(1, MOST_KILLS)))
            result = launch.run(read_settings(home=Path(name)), path, say=lambda _: None)
            if (result / job.WEIGHTS).read_bytes() != weights:
                outcome.failures.append(f"seed {case}: after {kills} kills the weights differ from the undisturbed run")
            left = sorted(p.name for p in path.parent.glob(".*.tmp"))
            if len(left) > kills:
                outcome.failures.append(f"seed {case}: {left} are left behind")
    return outcome
