"""Envoy's own questions and orders, through a socket that only its user can open: it asks nobody who they are."""

from __future__ import annotations

import http.client
import os
import socket
from pathlib import Path
from typing import Any

from contracts.errors import ServingError

SOCKET = "admin.sock"
#: Seconds.
TIMEOUT = 2.0
#: A unix socket's path may have 107 bytes.
LONGEST = 100


def address(folder: Path, directory: Path) -> dict[str, Any]:
    """Envoy's admin address in `folder`; relative to the directory that it runs in where the whole path is too long."""
    path = folder / SOCKET
    name = str(path) if len(os.fsencode(path)) <= LONGEST else os.path.relpath(path, directory.resolve())
    return {"pipe": {"path": name, "mode": 0o600}}


def ask(folder: Path, path: str, method: str = "GET", *, timeout: float = TIMEOUT) -> str:
    """What the Envoy whose files are in `folder` answers. Raises ServingError when it does not, or not with 200."""
    door = _Door(folder, timeout)
    try:
        door.request(method, path)
        answer = door.getresponse()
        text = answer.read().decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        raise ServingError(f"Envoy does not answer at {folder / SOCKET}: {error}", remedy="`caravan status`") from error
    finally:
        door.close()
    if answer.status != 200:
        raise ServingError(f"Envoy answers {answer.status} to {method} {path}: {text[:200]}", remedy="see its log")
    return text


def is_live(folder: Path) -> bool:
    """Whether it takes requests."""
    try:
        return "LIVE" in ask(folder, "/ready")
    except ServingError:
        return False


class _Door(http.client.HTTPConnection):
    def __init__(self, folder: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._folder = folder

    def connect(self) -> None:
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(self.timeout)
            # through the open folder: its own path may be too long for a socket's
            self.sock.connect(f"/proc/self/fd/{folder}/{SOCKET}")
        finally:
            os.close(folder)
