"""Two processes that want the same restore or failback: the second one waits, and finds it done."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from recovery.file_lock import hold


def hold_until_killed(lock: Path, held: Event) -> None:
    with hold(lock, lambda _who: None):
        held.set()
        time.sleep(60)


def holder(lock: Path) -> multiprocessing.Process:
    context = multiprocessing.get_context("fork")
    held = context.Event()
    process = context.Process(target=hold_until_killed, args=(lock, held))
    process.start()
    assert held.wait(10)
    return process  # type: ignore[return-value]


def test_who_died_is_not_in_the_way(tmp_path: Path) -> None:
    process, waited = holder(tmp_path / "a.lock"), []

    def in_the_way(who: str) -> None:
        waited.append(time.monotonic())
        assert who.startswith(f"process {process.pid} on ")
        if len(waited) == 3:
            assert process.pid is not None
            os.kill(process.pid, signal.SIGKILL)
            process.join()

    with hold(tmp_path / "a.lock", in_the_way, every=0.01):
        assert len(waited) >= 3


def test_who_is_at_it_may_be_a_reason_to_refuse(tmp_path: Path) -> None:
    process = holder(tmp_path / "a.lock")

    def in_the_way(who: str) -> None:
        raise RuntimeError("not now")

    try:
        with pytest.raises(RuntimeError, match="not now"), hold(tmp_path / "a.lock", in_the_way):
            pytest.fail("it is held")
    finally:
        process.kill()
        process.join()
