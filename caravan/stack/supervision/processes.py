"""Finds the processes that belong to a stack, also when their supervisor is gone, and what listens on a port.

A process is ours when its environment carries the stack's marker, or when it lives in the session that the
supervisor opened (programs that rewrite their title lose the environment; those that open a session keep it),
or when it descends from one of these.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import psutil

from caravan.stack.host.environment import MARKER
from contracts.errors import PortTaken, StackError


def of_stack(home: Path, session: tuple[int, float] | None) -> list[psutil.Process]:
    """Return every live process of the stack at `home`; `session` is the supervisor's session id and when it began."""
    everything = list(psutil.process_iter(["pid", "ppid", "create_time", "status"]))
    ours = _with_children({p.pid for p in everything if _marked(p, home) or _in_session(p, session)}, everything)
    # whoever asks may run inside the stack itself, as a task of Airflow does
    spared = {os.getpid(), 1, *(p.pid for p in psutil.Process().parents())}
    return [p for p in everything if p.pid in ours - spared and p.info["status"] != psutil.STATUS_ZOMBIE]


def within(folder: Path, ours: Sequence[psutil.Process]) -> list[psutil.Process]:
    """Return those of `of_stack` that work in `folder` or below it, and their descendants."""
    chosen = _with_children({p.pid for p in ours if _works_in(p, folder)}, ours)
    return [p for p in ours if p.pid in chosen]


def _with_children(chosen: set[int], everything: Sequence[psutil.Process]) -> set[int]:
    grown = True
    while grown:
        more = {p.pid for p in everything if p.info["ppid"] in chosen and p.pid not in chosen}
        grown = bool(more)
        chosen = chosen | more
    return chosen


def _works_in(process: psutil.Process, folder: Path) -> bool:
    try:
        return Path(process.cwd()).is_relative_to(folder.resolve())
    except (psutil.Error, OSError):
        return False


def _marked(process: psutil.Process, home: Path) -> bool:
    try:
        return process.environ().get(MARKER) == str(home)
    except (psutil.Error, OSError):
        return False


def _in_session(process: psutil.Process, session: tuple[int, float] | None) -> bool:
    if session is None:
        return False
    leader, began = session
    try:
        return os.getsid(process.pid) == leader and process.info["create_time"] >= began - 2
    except OSError:
        return False


def end_processes(processes: Iterable[psutil.Process], *, patience: float = 5.0) -> None:
    """Terminate, wait `patience` seconds, kill. Raises StackError when one stays."""
    remaining = list(processes)
    for process in remaining:
        _signal(process, kill=False)
    _, remaining = psutil.wait_procs(remaining, timeout=patience)
    for process in remaining:
        _signal(process, kill=True)
    _, remaining = psutil.wait_procs(remaining, timeout=patience)
    alive = [p for p in remaining if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
    if alive:
        raise StackError(f"these processes do not end: {[p.pid for p in alive]}", remedy="end them by hand")


def _signal(process: psutil.Process, *, kill: bool) -> None:
    try:
        process.kill() if kill else process.terminate()
    except psutil.NoSuchProcess:
        return
    except psutil.AccessDenied:
        raise StackError(
            f"not allowed to end process {process.pid}", remedy="run it as the user of `caravan up`"
        ) from None


def memory_of(pid: int) -> int:
    """Return the bytes that the process and its descendants hold, shared pages divided among their sharers (PSS)."""
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
    except psutil.Error:
        return 0
    total = 0
    for member in family:
        try:
            total += member.memory_full_info().pss
        except psutil.AccessDenied:
            total += member.memory_info().rss
        except psutil.Error:
            continue
    return total


def check_ports(host: str, wanted: Mapping[int, str]) -> None:
    """Raise PortTaken when something listens on one of the ports; `wanted` names the service of each."""
    for port, service in wanted.items():
        with socket.socket() as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                trial.bind((host, port))
            except PermissionError:
                raise PortTaken(
                    f"port {port} ({service}) may not be opened by this user",
                    remedy="move all ports: set CARAVAN_PORT_OFFSET, for example 1000",
                ) from None
            except OSError:
                raise PortTaken(
                    f"port {port} on {host}, which {service} needs, is taken by {_listener(port)}",
                    remedy="stop that process, or move all ports: set CARAVAN_PORT_OFFSET, for example 1000",
                ) from None


def _listener(port: int) -> str:
    try:
        for connection in psutil.net_connections("tcp"):
            if connection.laddr and connection.laddr.port == port and connection.pid:
                process = psutil.Process(connection.pid)
                return f"{process.name()} (process {process.pid})"
    except (psutil.Error, OSError):
        pass
    return "a process of another user"


def wait_until_gone(processes: Iterable[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Wait for processes to end by themselves; what remains after `seconds`."""
    deadline = time.monotonic() + seconds
    _, remaining = psutil.wait_procs(list(processes), timeout=max(0.0, deadline - time.monotonic()))
    return remaining
