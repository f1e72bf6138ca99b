"""Starts and stops programs: all at once, each when those it needs are ready."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

from caravan.stack.host.program import Program
from caravan.stack.supervision import supervisor
from contracts.errors import StackError
from contracts.settings import Settings

#: Called with a program's name, what it does now, and seconds since its start. May be called from several threads.
Progress = Callable[[str, str, float], None]


def remove_leftovers(program: Program) -> None:
    for path in program.leftovers:
        try:
            path.unlink(missing_ok=True)
        except PermissionError:
            raise StackError(
                f"{path}, which {program.name} needs, belongs to another user",
                remedy="remove it, or move all ports: set CARAVAN_PORT_OFFSET, for example 1000",
            ) from None


def start(s: Settings, wanted: list[Program], progress: Progress) -> None:
    """Start all programs at once, each when those it needs are ready; fail at the first that fails."""
    ready = {program.name: threading.Event() for program in wanted}
    failed = threading.Event()

    def bring_up(program: Program) -> None:
        began = time.monotonic()

        def tell(what: str) -> None:
            progress(program.name, what, time.monotonic() - began)

        try:
            if not all(_set_before(ready[f"{program.group}-{service}"], failed) for service in program.after):
                return
            began = time.monotonic()
            since = _launch(s, program, tell)
            if not _await(s, program, since, failed, tell):
                return  # another one failed, which is what people must hear
            program.finish()
            tell("ready")
            ready[program.name].set()
        except BaseException:
            failed.set()
            tell("failed")
            raise

    with ThreadPoolExecutor(max_workers=max(1, len(wanted))) as pool:
        futures = [pool.submit(bring_up, program) for program in wanted]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
        except KeyboardInterrupt:
            failed.set()  # what starts goes on by itself, nothing waits for it; the next `up` completes it
            raise
    for future in futures:
        future.result()


def _set_before(event: threading.Event, failed: threading.Event) -> bool:
    """Wait until the event is set; False when another program has failed first."""
    while not event.wait(0.1):
        if failed.is_set():
            return False
    return True


def _launch(s: Settings, program: Program, tell: Callable[[str], None]) -> float:
    """Start the program unless it runs; return the time, in seconds, since which a sign of life counts."""
    about = supervisor.processes(s).get(program.name, {})
    if about.get("pid"):
        return float(about.get("start", 0)) - 1
    tell("preparing")
    remove_leftovers(program)
    program.prepare()
    tell("starting")
    since = time.time() - 1
    supervisor.order(s, "startProcess", program.process, wait=False)
    return since


def _await(s: Settings, program: Program, since: float, failed: threading.Event, tell: Callable[[str], None]) -> bool:
    """Wait until it is ready; False when another program has failed. Raises StackError when it does not start."""
    deadline = time.monotonic() + program.patience
    while not failed.is_set():
        state = supervisor.processes(s).get(program.name, {}).get("statename", "GONE")
        if state in {"FATAL", "GONE", "EXITED", "STOPPED"}:
            raise StackError(
                f"{program.name} does not start:\n{_tail(s, program)}", remedy=f"caravan logs {program.name}"
            )
        if program.ready(since):
            return True
        if time.monotonic() > deadline:
            raise StackError(
                f"{program.name} does not answer after {program.patience:.0f} s:\n{_tail(s, program)}",
                remedy=f"caravan logs {program.name}",
            )
        tell("starting")
        time.sleep(0.2)
    return False


def _tail(s: Settings, program: Program, lines: int = 6) -> str:
    try:
        text = supervisor.log_file(s, program).read_text(errors="replace")
    except FileNotFoundError:
        return "(no log)"
    return "\n".join(f"    {line}" for line in text.splitlines()[-lines:])


def stop(s: Settings, wanted: list[Program], progress: Progress, began: float) -> None:
    def stop(program: Program) -> None:
        progress(program.name, "stopping", time.monotonic() - began)
        supervisor.order(s, "stopProcess", program.process, wait=True)
        progress(program.name, "stopped", time.monotonic() - began)

    with ThreadPoolExecutor(max_workers=max(1, len(wanted))) as pool:
        list(pool.map(stop, wanted))
