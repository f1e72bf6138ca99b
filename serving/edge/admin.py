"""Envoy's own questions and orders, through a socket that only its user can open: it asks nobody who they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx

from contracts.errors import ServingError
from contracts.settings import Settings
from contracts.sockets import SCHEME, socket_path
from serving import reach

#: Seconds.
TIMEOUT = 2.0


def of_region(s: Settings) -> Path:
    """The socket of the region's edge."""
    return s.socket_path("edge-admin.sock")


def of_control(s: Settings) -> Path:
    """The socket of the edge in front of the regions."""
    return socket_path(s.home, "control/edge-admin.sock")


def address(path: Path) -> dict[str, Any]:
    """Envoy's admin address; the folder is made where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return {"pipe": {"path": str(path), "mode": 0o600}}


def ask(path: Path, what: str, method: str = "GET", *, timeout: float = TIMEOUT) -> str:
    """What the Envoy with this socket answers. Raises ServingError when it does not, or not with 200."""
    try:
        with reach.client(f"{SCHEME}{path}", timeout=timeout) as client:
            answer = client.request(method, what)
    except httpx.HTTPError as error:
        raise ServingError(f"Envoy does not answer at {path}: {error}", remedy="`caravan status`") from error
    if answer.status_code != 200:
        raise ServingError(f"Envoy answers {answer.status_code} to {method} {what}", remedy="see its log")
    return answer.text


def is_live(path: Path) -> bool:
    """Whether it takes requests."""
    try:
        return "LIVE" in ask(path, "/ready")
    except ServingError:
        return False
