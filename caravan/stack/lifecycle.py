"""Starts and stops the local stack, and says how it is."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import get_args

from caravan.stack.host.program import Program
from caravan.stack.keys import credentials
from caravan.stack.services import control as control_group
from caravan.stack.services import region as region_group
from caravan.stack.supervision import folders, processes, starting, supervisor
from caravan.stack.supervision.starting import Progress
from contracts.errors import SettingsError, StackError
from contracts.region import RegionName, named
from contracts.settings import Settings
from recovery.file_lock import hold
from recovery.restore import suspended

log = logging.getLogger(__name__)
GROUPS = ("control", *get_args(RegionName))


def _quiet(name: str, what: str, seconds: float) -> None:  # noqa: ARG001
    return None


def _log(text: str) -> None:
    log.info("%s", text)


@dataclass(frozen=True, kw_only=True)
class ServiceStatus:
    """One line of `caravan status`; memory in bytes, uptime in seconds."""

    name: str
    group: str
    service: str
    state: str
    address: str
    pid: int
    memory: int
    uptime: float


def up(
    s: Settings,
    regions: Sequence[RegionName] = ("primary",),
    *,
    control: bool = True,
    progress: Progress = _quiet,
    new_keys: Sequence[str] = (),
    tell: Callable[[str], None] = _log,
) -> Settings:
    """Start what does not run yet, wait until all of it answers, and return `s` with its secrets.

    `new_keys` names lost keys that are to be made again; `tell` gets a line for what happened to the keys.
    Groups that are not asked for are left as they are. Raises PortTaken before anything starts, StackError when
    a service does not answer in time; what did start then keeps running, for `caravan logs`.
    """
    s = s.model_copy(update={"home": s.home.resolve()})
    folders.make(s, regions)
    with _lock(s):
        credentials.renew(s, new_keys)
        s = credentials.ensure(s, tell)
        asked = [*(["control"] if control else []), *regions]
        wanted = {group: _programs(s, group) for group in asked}
        if not supervisor.runs(s):
            processes.end_processes(processes.of_stack(s.home, supervisor.session(s)))
        _check_ports(s, wanted)
        for group, programs in wanted.items():
            supervisor.write_group(s, group, programs)
        if supervisor.runs(s):
            supervisor.reload(s)
        else:
            supervisor.start(s)
        starting.start(s, [program for programs in wanted.values() for program in programs], progress)
        for region in regions:
            suspended.clear(s.of_region(region))
    return s


def down(s: Settings, progress: Progress = _quiet) -> None:
    """Stop everything, the supervisor too, and see to it that no process stays. Fine when nothing runs."""
    s = s.model_copy(update={"home": s.home.resolve()})
    if not supervisor.run_folder(s).is_dir():
        return
    with _lock(s):
        began = time.monotonic()
        try:
            known = _known(s)
        except SettingsError:  # keys are gone: what runs is stopped all the same, by the supervisor hold
            known = []
        ours = processes.of_stack(s.home, supervisor.session(s))
        if supervisor.runs(s):
            running = {name for name, about in supervisor.processes(s).items() if about["pid"]}
            # services before the stores they write to
            for stores in (False, True):
                starting.stop(s, [p for p in known if p.is_store == stores and p.name in running], progress, began)
            ours = [*ours, *processes.of_stack(s.home, supervisor.session(s))]
            supervisor.call(s, "shutdown")
            processes.wait_until_gone(ours, 10)
        processes.end_processes(processes.of_stack(s.home, supervisor.session(s)))
        for program in known:
            starting.remove_leftovers(program)
        supervisor.socket_path(s).unlink(missing_ok=True)
        for leftover in ("session.json", "supervisord.pid", *(f"group-{g}.conf" for g in supervisor.groups(s))):
            (supervisor.run_folder(s) / leftover).unlink(missing_ok=True)


def start_services(s: Settings, services: Sequence[str], progress: Progress = _quiet) -> None:
    """Start some services of the region `s.region`, the supervisor too, and wait until they answer.

    Of a supervisor that died only this region's processes are ended: the other region may go on serving without it.
    """
    with _lock(s):
        programs = _programs(s, s.region)
        wanted = [program for program in programs if program.service in services]
        if not supervisor.runs(s):
            processes.end_processes(processes.within(s.paths.home, processes.of_stack(s.home, supervisor.session(s))))
            supervisor.write_group(s, s.region, programs)
            supervisor.start(s)
        elif not {program.name for program in wanted} <= supervisor.processes(s).keys():
            # a region that was never up on this machine, or whose group was taken out
            supervisor.write_group(s, s.region, programs)
            supervisor.reload(s)
        # whoever names services knows their order
        starting.start(s, [replace(program, after=()) for program in wanted], progress)


def stop_services(s: Settings, services: Sequence[str], progress: Progress = _quiet) -> None:
    """Stop some services of the region `s.region`; fine when they do not run."""
    with _lock(s):
        known = supervisor.processes(s)
        running = [p for p in _programs(s, s.region) if p.service in services and known.get(p.name, {}).get("pid")]
        starting.stop(s, running, progress, time.monotonic())


def status(s: Settings) -> list[ServiceStatus]:
    """Return every service of the groups that were started, in the order of `up`. Empty when the stack is down."""
    s = s.model_copy(update={"home": s.home.resolve()})
    known = supervisor.processes(s)
    shown = [program for program in _known(s) if program.name in known]
    with ThreadPoolExecutor(max_workers=8) as pool:
        return list(pool.map(lambda program: _status_of(program, known[program.name]), shown))


def programs(s: Settings) -> list[Program]:
    """List the programs of the groups that were started (after `down`: of all groups with logs)."""
    return _known(s) or [p for group in GROUPS if (s.home / "logs" / group).is_dir() for p in _programs(s, group)]


def _status_of(program: Program, about: dict[str, object]) -> ServiceStatus:
    state, pid = str(about["statename"]).lower(), int(str(about["pid"]))
    started = float(str(about["start"]))
    if state == "running":
        state = "ready" if program.ready(0.0) else "not answering"
    return ServiceStatus(
        name=program.name,
        group=program.group,
        service=program.service,
        state=state,
        address=program.address,
        pid=pid,
        memory=processes.memory_of(pid) if pid else 0,
        uptime=max(0.0, time.time() - started) if pid else 0.0,
    )


def _programs(s: Settings, group: str) -> list[Program]:
    if group == "control":
        return control_group.programs(s)
    return region_group.programs(s.of_region(named(group)))


def _known(s: Settings) -> list[Program]:
    s = credentials.known(s) if supervisor.groups(s) else s
    return [program for group in GROUPS if group in supervisor.groups(s) for program in _programs(s, group)]


@contextmanager
def _lock(s: Settings) -> Iterator[None]:
    """Let only one `up` or `down` run at a time; the kernel drops the lock of a process that dies."""

    def refuse(who: str) -> None:
        raise StackError(
            f"another `caravan up` or `caravan down` works on {s.home} ({who})", remedy="wait until it is done"
        )

    with hold(supervisor.run_folder(s) / "lock", refuse):
        yield


def _check_ports(s: Settings, wanted: dict[str, list[Program]]) -> None:
    running = {name for name, about in supervisor.processes(s).items() if about["pid"]}
    ports = {
        port: f"{program.name} ({label})"
        for programs in wanted.values()
        for program in programs
        if program.name not in running
        for label, port in program.ports.items()
    }
    processes.check_ports(s.host, ports)
