"""Checks from outside what answers, and waits until it does."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

import httpx

from contracts.errors import RecoveryError
from contracts.region import RegionName
from contracts.settings import Settings
from serving import reach

#: Seconds that the engines and the edge may take to answer with the champion.
ANSWER_TIMEOUT_S = 120.0


def ready(s: Settings, address: str) -> str | None:
    """Return the release that serves at an address of this region, or None."""
    try:
        with reach.as_shop(s, address, timeout=2.0) as client:
            body = client.get("/readyz").json()
        return str(body["release"]) if body["ready"] else None
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        return None


def wait_until(is_so: Callable[[], bool], otherwise: str) -> None:
    until = time.monotonic() + ANSWER_TIMEOUT_S
    while not is_so():
        if time.monotonic() > until:
            raise RecoveryError(
                f"{otherwise} after {ANSWER_TIMEOUT_S:.0f} s", remedy="`caravan logs` says why; a rerun goes on"
            )
        time.sleep(0.1)


def answering_parts(s: Settings, region: RegionName) -> list[str]:
    """Return which ports of another region (database, edge) still take connections."""
    ports, found = s.ports_of(region), []
    for name, port in (("database", ports.postgres), ("edge", ports.edge)):
        with socket.socket() as trial:
            trial.settimeout(1.0)
            if trial.connect_ex((s.host, port)) == 0:
                found.append(name)
    return found
