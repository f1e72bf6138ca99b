"""Runs the supervisor daemon of one stack: its configuration, its life, and the questions we ask it.

Each group of programs has a file of its own, so a second region joins while the first one runs. The daemon opens
a session of its own, which it writes down: what stays in that session is found again after it is killed.
"""

from __future__ import annotations

import http.client
import json
import os
import shlex
import socket
import subprocess
import time
import xmlrpc.client
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import psutil

from caravan.stack.host import binaries, environment
from caravan.stack.host.private_files import write_private
from caravan.stack.host.program import Program
from contracts.errors import StackError
from contracts.settings import Settings
from contracts.sockets import socket_path as socket_for

#: Seconds until a daemon that says nothing counts as gone; stopping a database may take the most of them.
CALL_TIMEOUT_S = 120.0
DAEMON_START_TIMEOUT_S = 30.0
#: Faults that say that it is so already: not running, already started.
_ALREADY = {70, 60}
#: The fault that says that a process ended as soon as it was started: its state tells that, and its log why.
_ENDED_AT_ONCE = 50


def run_folder(s: Settings) -> Path:
    return s.home / "run"


def log_file(s: Settings, program: Program) -> Path:
    return s.home / "logs" / program.group / f"{program.service}.log"


def socket_path(s: Settings) -> Path:
    """Return the path of the daemon's socket."""
    return socket_for(s.home, "run/supervisor.sock")


def write_group(s: Settings, group: str, programs: Iterable[Program]) -> None:
    """Write the configuration of one group; the daemon reads it at its next start or `reload`."""
    sections = [f"[group:{group}]\nprograms={','.join(p.name for p in programs)}\n"]
    for program in programs:
        options: dict[str, object] = {
            "command": shlex.join(program.command),
            "directory": program.directory,
            "environment": ",".join(f'{name}="{_plain(value)}"' for name, value in program.environment.items()),
            "autostart": "false",
            "autorestart": "true",
            "startsecs": 1,
            "startretries": 5,
            "stopsignal": program.stop_signal,
            "stopwaitsecs": program.stop_patience,
            "stopasgroup": str(program.stop_as_group).lower(),
            "killasgroup": "true",
            "redirect_stderr": "true",
            "stdout_logfile": log_file(s, program),
            "stdout_logfile_maxbytes": "20MB",
            "stdout_logfile_backups": 1,
        }
        # supervisor expands `%`
        lines = (f"{name}={_percent(value)}\n" for name, value in options.items())
        sections.append(f"[program:{program.name}]\n{''.join(lines)}")
        log_file(s, program).parent.mkdir(parents=True, exist_ok=True)
    write_private(run_folder(s) / f"group-{group}.conf", "\n".join(sections))


def _plain(value: str) -> str:
    if '"' in value or "\n" in value or "\\" in value:
        raise StackError(
            "a setting holds a quote, a backslash or a line break, which the supervisor's file cannot carry",
            remedy="use other characters in paths and secrets",
        )
    return value


def groups(s: Settings) -> list[str]:
    """List groups that have a configuration, running or not."""
    return sorted(f.stem.removeprefix("group-") for f in run_folder(s).glob("group-*.conf"))


def session(s: Settings) -> tuple[int, float] | None:
    """Return the session id of the newest daemon and when it began (seconds since 1970), if this boot has seen one."""
    try:
        written = json.loads((run_folder(s) / "session.json").read_text())
    except (FileNotFoundError, ValueError):
        return None
    if abs(written["boot"] - psutil.boot_time()) > 60:
        return None
    return int(written["session"]), float(written["began"])


def start(s: Settings) -> None:
    """Start the daemon; its programs start when asked. Raises StackError when it does not answer in half a minute."""
    folder, socket = run_folder(s), socket_path(s)
    socket.unlink(missing_ok=True)
    main: dict[str, dict[str, object]] = {
        "supervisord": {
            "logfile": folder / "supervisord.log",
            "logfile_maxbytes": "5MB",
            "logfile_backups": 1,
            "pidfile": folder / "supervisord.pid",
            "childlogdir": folder,
            "minfds": 1024,
            "umask": "077",
        },
        "unix_http_server": {"file": socket, "chmod": "0600"},
        "rpcinterface:supervisor": {
            "supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"
        },
        "include": {"files": "group-*.conf"},  # beside this file: an absolute pattern would end at a space
    }
    if os.geteuid() == 0:
        main["supervisord"]["user"] = "root"
    text = "\n".join(
        f"[{section}]\n" + "".join(f"{name}={_percent(value)}\n" for name, value in options.items())
        for section, options in main.items()
    )
    write_private(folder / "supervisord.conf", text)
    began = time.time()
    # it goes into the background by itself, as the leader of a session of its own
    done = subprocess.run(
        [binaries.python(), "-m", "supervisor.supervisord", "-c", str(folder / "supervisord.conf")],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment.base(s),
        cwd=folder,
        check=False,
    )
    deadline = began + DAEMON_START_TIMEOUT_S
    while done.returncode == 0 and time.time() < deadline:
        if runs(s):
            about = {"session": call(s, "getPID"), "began": began, "boot": psutil.boot_time()}
            write_private(folder / "session.json", json.dumps(about))
            return
        time.sleep(0.05)
    said = done.stdout.decode(errors="replace").strip()
    raise StackError(f"the supervisor did not start: {said}", remedy=f"see {folder / 'supervisord.log'}")


class _Door(http.client.HTTPConnection):
    """HTTP to the daemon's socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("127.0.0.1", timeout=CALL_TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class _Transport(xmlrpc.client.Transport):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: object) -> http.client.HTTPConnection:  # noqa: ARG002
        return _Door(self._path)


def call(s: Settings, method: str, *arguments: Any) -> Any:
    """Send one XML-RPC call, for example `call(s, "getState")`. Raises OSError or xmlrpc.client.Fault."""
    server = xmlrpc.client.ServerProxy("http://127.0.0.1", transport=_Transport(socket_path(s)))
    try:
        return getattr(server.supervisor, method)(*arguments)
    except http.client.HTTPException as error:
        raise ConnectionError(f"the supervisor broke off: {error!r}") from error


def order(s: Settings, method: str, process: str, *, wait: bool) -> None:
    """Have one process started or stopped; fine when it is so already. Raises StackError."""
    try:
        call(s, method, process, wait)
    except xmlrpc.client.Fault as fault:
        if fault.faultCode not in _ALREADY and (wait or fault.faultCode != _ENDED_AT_ONCE):
            raise StackError(
                f"the supervisor refuses {method} of {process}: {fault.faultString}",
                remedy=f"see {run_folder(s) / 'supervisord.log'}",
            ) from fault
    except (OSError, xmlrpc.client.Error, EOFError) as error:
        raise StackError(
            f"the supervisor does not answer, asked for {method} of {process}: {error}",
            remedy="`caravan up` starts it; then again",
        ) from error


def runs(s: Settings) -> bool:
    """Check whether the daemon answers."""
    try:
        return bool(call(s, "getState")["statename"] == "RUNNING")
    except (OSError, xmlrpc.client.Error, EOFError):
        return False


def processes(s: Settings) -> dict[str, dict[str, Any]]:
    """Return what supervisor knows of each program, by name; empty when the daemon does not run."""
    try:
        return {about["name"]: about for about in call(s, "getAllProcessInfo")}
    except (OSError, xmlrpc.client.Error, EOFError):
        return {}


def reload(s: Settings) -> None:
    """Take in new and changed groups. A changed group is stopped and added again; others keep running."""
    [[added, changed, removed]] = call(s, "reloadConfig")
    for group in [*changed, *removed]:
        call(s, "stopProcessGroup", group)
        call(s, "removeProcessGroup", group)
    for group in [*added, *changed]:
        call(s, "addProcessGroup", group)


def _percent(value: object) -> str:
    """Escape a value so that supervisor does not expand it."""
    return str(value).replace("%", "%%")
