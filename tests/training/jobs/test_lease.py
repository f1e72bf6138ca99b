"""Two processes and one training: the second says for whom it waits, takes over, and the first one writes nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import psutil
import pytest

from contracts.errors import TakenOver, TrainingError
from contracts.settings import read_settings
from tests import waiting
from tests.training import builders
from training.fitting import launch
from training.jobs import job, lease

LASTS = 1.5
#: Longest wait for what two processes come to, on a busy machine.
until = partial(waiting.until, seconds=90.0)
#: Long enough to be stopped in the middle of it, however fast the machine.
LONG = builders.recipe(max_epochs=10_000, max_steps=10**6, patience=10_000, checkpoint_seconds=0.05)
HOLD = """
import sys, time
from pathlib import Path
from training.jobs import lease
claim = lease.take(Path(sys.argv[1]), lasts=float(sys.argv[2]), attempt="holder", say=print)
print("held", flush=True)
while True:
    claim.renew()
    time.sleep(0.05)
"""


@contextmanager
def holder(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Start another process that holds the folder's claim and gives signs of life."""
    words = [sys.executable, "-c", HOLD, str(folder), str(LASTS)]
    process = subprocess.Popen(
        words, cwd=launch.ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def take(folder: Path, lines: list[str]) -> lease.Claim:
    return lease.take(folder, lasts=LASTS, attempt="second", say=lines.append, every=0.3)


def test_the_waiter_names_the_holder_takes_over_and_the_late_one_ends(tmp_path: Path) -> None:
    lines: list[str] = []
    with holder(tmp_path) as first:
        os.kill(first.pid, signal.SIGSTOP)
        began = time.monotonic()
        claim = take(tmp_path, lines)
        assert LASTS <= time.monotonic() - began < 20 * LASTS
        assert f"waits for process {first.pid} on " in lines[0]
        assert "which has trained here since 20" in lines[0]
        assert len(lines) >= 3  # at once, now and then, and at the end
        assert f"takes over from process {first.pid}" in lines[-1]
        os.kill(first.pid, signal.SIGCONT)
        _, said = first.communicate(timeout=60)
        assert first.returncode != 0
        assert "another process has taken this training over" in said
    claim.demand()
    assert claim.number == 2


def test_one_that_lives_is_waited_for_and_one_that_died_is_not(tmp_path: Path) -> None:
    lines: list[str] = []
    with holder(tmp_path) as first:
        waiter = threading.Thread(target=take, args=(tmp_path, lines))
        waiter.start()
        until(lambda: len(lines) >= 2 + int(2 * LASTS / 0.3))  # well beyond the lease: it gives signs of life
        assert not any("takes over from" in line for line in lines)
        first.kill()
        first.wait()
        killed = time.monotonic()
        waiter.join(timeout=60)
        assert not waiter.is_alive()
        assert time.monotonic() - killed < LASTS
    assert not any("takes over from" in line for line in lines)


def test_what_was_given_back_is_free_at_once(tmp_path: Path) -> None:
    take(tmp_path, []).give_back()
    lines: list[str] = []
    assert take(tmp_path, lines).number == 2
    assert lines == []


def test_of_many_that_take_over_one_wins(tmp_path: Path) -> None:
    with holder(tmp_path) as first:
        os.kill(first.pid, signal.SIGSTOP)
        claims: list[lease.Claim] = []
        threads = [threading.Thread(target=lambda: claims.append(take(tmp_path, []))) for _ in range(4)]
        for thread in threads:
            thread.start()
        until(lambda: claims)
        claims[0].demand()
        assert [c.number for c in claims] == [2]
        for claim in claims:
            claim.give_back()
        for place in range(1, 4):  # the others, one after the other
            until(lambda place=place: len(claims) > place)  # type: ignore[misc]
            claims[place].give_back()
        for thread in threads:
            thread.join()
    assert sorted(claim.number for claim in claims) == [2, 3, 4, 5]
    with pytest.raises(TakenOver, match="taken this training over"):
        claims[0].demand()


class Training(threading.Thread):
    """`launch.run` as a task does it, in a thread; its lines, and how it ended."""

    def __init__(self, path: Path, home: Path) -> None:
        super().__init__(daemon=True)
        self.lines: list[str] = []
        self.error: Exception | None = None
        self._path, self._s = path, read_settings(home=home, training_lease=LASTS)

    def run(self) -> None:
        try:
            launch.run(self._s, self._path, say=self.lines.append)
        except TrainingError as error:
            self.error = error

    def says(self, words: str) -> bool:
        return any(words in line for line in self.lines)


def worker(folder: Path) -> int:
    """Return the number of the process that trains in `folder`; 0 where there is none."""
    found = lease.newest(folder)
    return found.holder.process if found else 0


def end(pid: int) -> None:
    """Kill a trainer with the process that started it; both are this test's own."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        starter = process.parent()
        process.kill()
        if starter is not None and starter.pid != os.getpid():
            starter.kill()


@pytest.mark.slow
def test_a_stopped_trainer_is_replaced_and_publishes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(launch, "SILENCE_LIMIT_LEASES", 10_000)  # its own starter does not give it up
    path = job.write_job(tmp_path / "job", LONG, builders.data(count=50), key="stopped")
    folder, saved = path.parent, path.parent / "checkpoint.safetensors"
    first, second = Training(path, tmp_path), Training(path, tmp_path)
    first.start()
    until(saved.exists)
    stopped = worker(folder)
    os.kill(stopped, signal.SIGSTOP)
    try:
        second.start()
        until(lambda: second.says(f"takes over from process {stopped}"))
        assert second.says(f"waits for process {stopped} on ")
        until(lambda: second.says("resumes at epoch") and second.says("ended after"))
        os.kill(worker(folder), signal.SIGSTOP)  # so that only the late one could write now
        before = {p.name: (p.stat().st_mtime_ns, p.stat().st_size) for p in folder.iterdir()}
        os.kill(stopped, signal.SIGCONT)
        first.join(timeout=60)
        assert not first.is_alive()
        assert isinstance(first.error, TakenOver)
        after = {p.name: (p.stat().st_mtime_ns, p.stat().st_size) for p in folder.iterdir()}
        assert {name for name in after if after[name] != before.get(name)} <= {
            p.name for p in folder.glob("error-*.txt")
        }
        assert not (folder / job.RESULT).exists()
    finally:
        end(stopped)
        end(worker(folder))
        second.join(timeout=60)
    assert not second.is_alive()


@pytest.mark.slow
def test_a_trainer_that_stays_silent_is_ended_by_its_starter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    path = job.write_job(tmp_path / "job", LONG, builders.data(count=50), key="silent")
    training = Training(path, tmp_path)
    monkeypatch.setattr(launch, "SILENCE_LIMIT_LEASES", 10_000)
    training.start()
    until((path.parent / "checkpoint.safetensors").exists)
    stopped = worker(path.parent)
    os.kill(stopped, signal.SIGSTOP)
    until(lambda: training.says("has given no sign of life for"))
    monkeypatch.setattr(launch, "SILENCE_LIMIT_LEASES", 3)
    training.join(timeout=60)
    assert not training.is_alive()
    assert "gave no sign of life" in str(training.error)
    assert not psutil.pid_exists(stopped) or psutil.Process(stopped).status() == psutil.STATUS_ZOMBIE


@pytest.mark.slow
def test_a_result_of_another_attempt_is_not_taken_for_ones_own(tmp_path: Path) -> None:
    """The late starter: its trainer had ended well, but another one has begun since."""
    path = job.write_job(tmp_path / "job", builders.recipe(max_epochs=1), builders.data(count=20), key="late")
    s = read_settings(home=tmp_path)

    def another(line: str) -> None:
        if "ended after" in line:
            number = lease.newest(path.parent)
            assert number is not None
            about = json.loads((path.parent / f"claim-{number.number:06d}").read_text())
            (path.parent / f"claim-{number.number:06d}").write_text(json.dumps({**about, "attempt": "another"}))

    with pytest.raises(TakenOver, match="this one publishes nothing"):
        launch.run(s, path, say=another)
