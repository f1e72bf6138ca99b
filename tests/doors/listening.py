"""Every socket, TCP and unix, at which some processes listen: read from the kernel's tables, whoever opened it."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

#: The kernel's state of a TCP socket that listens, and its flag of a unix socket that does.
_LISTENS, _ACCEPTS = "0A", 0x10000


@dataclass(frozen=True, order=True)
class Door:
    """`where` is PORT at loopback, or a path; `process` the name of one process that listens there."""

    kind: str
    where: str
    process: str


def doors(pids: Iterable[int]) -> list[Door]:
    """The doors of these processes, each once."""
    sockets = _tcp() | _unix()
    found: dict[tuple[str, str], str] = {}
    for pid in pids:
        name, links = _open_files(pid)
        for link in links:
            inode = re.fullmatch(r"socket:\[(\d+)\]", link)
            if inode and inode[1] in sockets:
                found.setdefault(sockets[inode[1]], name)
    return sorted(Door(kind, where, name) for (kind, where), name in found.items())


def _open_files(pid: int) -> tuple[str, list[str]]:
    """The name of a process and what its descriptors lead to; nothing of one that has ended."""
    links = []
    try:
        name, descriptors = Path(f"/proc/{pid}/comm").read_text().strip(), list(Path(f"/proc/{pid}/fd").iterdir())
    except (FileNotFoundError, ProcessLookupError):
        return "", []
    for descriptor in descriptors:
        with suppress(FileNotFoundError, ProcessLookupError):  # closed meanwhile
            links.append(os.readlink(descriptor))
    return name, links


def _tcp() -> dict[str, tuple[str, str]]:
    found = {}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *rest = line.split()
            if state == _LISTENS:
                address, port = local.split(":")
                found[rest[5]] = ("tcp", f"{_address(address)}:{int(port, 16)}")
    return found


def _address(text: str) -> str:
    """An address of /proc/net/tcp: words of four bytes, each the wrong way round."""
    words = [bytes.fromhex(text[at : at + 8])[::-1] for at in range(0, len(text), 8)]
    return str(ipaddress.ip_address(b"".join(words)))


def _unix() -> dict[str, tuple[str, str]]:
    found = {}
    for line in Path("/proc/net/unix").read_text().splitlines()[1:]:
        parts = line.split(maxsplit=7)
        if int(parts[3], 16) & _ACCEPTS:
            found[parts[6]] = ("unix", parts[7] if len(parts) > 7 else "")
    return found
