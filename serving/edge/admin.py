"""Talks to Envoy's admin interface, through a socket that only its user can open: Envoy itself checks no caller."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx

from contracts.errors import ServingError
from contracts.settings import Settings
from contracts.sockets import SCHEME, socket_path
from serving import reach

#: Longest wait for Envoy's answer.
ADMIN_TIMEOUT_S = 2.0


def region_socket(s: Settings) -> Path:
    """Return the admin socket of the region's edge."""
    return s.socket_path("edge-admin.sock")


def control_socket(s: Settings) -> Path:
    """Return the admin socket of the edge in front of the regions."""
    return socket_path(s.home, "control/edge-admin.sock")


def make_admin_address(path: Path) -> dict[str, Any]:
    """Make Envoy's admin address of a socket; its folder is made where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return {"pipe": {"path": str(path), "mode": 0o600}}


def ask(path: Path, what: str, method: str = "GET", *, timeout: float = ADMIN_TIMEOUT_S) -> str:
    """Ask the Envoy with this socket. Raises ServingError where no answer, or none with 200, comes in `timeout` s."""
    try:
        with reach.client(f"{SCHEME}{path}", timeout=timeout) as client:
            answer = client.request(method, what)
    except httpx.HTTPError as error:
        raise ServingError(f"Envoy does not answer at {path}: {error}", remedy="`caravan status`") from error
    if answer.status_code != 200:
        raise ServingError(f"Envoy answers {answer.status_code} to {method} {what}", remedy="see its log")
    return answer.text


def is_live(path: Path) -> bool:
    """Say whether the Envoy with this socket takes requests."""
    try:
        return "LIVE" in ask(path, "/ready")
    except ServingError:
        return False
