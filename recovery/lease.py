"""Who may add to or take from the vault now: one object, moved by compare-and-set, that runs out by itself.

What is being copied is not named by any snapshot yet, so removing must not happen meanwhile.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from artifacts.publish import Store
from contracts.errors import Conflict, NotFound

KEY = "leases/vault.json"
#: Seconds until the lease of a holder that died is free again.
LASTS = 900.0


@contextmanager
def held(store: Store, what: str, *, patience: float = 0.0, clock: Callable[[], float] = time.time) -> Iterator[None]:
    """Hold the vault for `what`. Raises Conflict, naming the holder, when somebody else does for `patience` seconds."""
    holder = f"{what} on {socket.gethostname()} ({os.getpid()})"
    deadline = clock() + patience
    while True:
        try:
            etag = _take(store, holder, clock)
            break
        except Conflict:
            if clock() >= deadline:
                raise
            time.sleep(0.5)
    try:
        yield
    finally:
        with suppress(Conflict):  # it ran out, and somebody else has it
            store.put(KEY, _body(holder, 0.0), if_match=etag)


def _take(store: Store, holder: str, clock: Callable[[], float]) -> str:
    """The etag of our lease."""
    try:
        data, etag = store.read(KEY)
    except NotFound:
        return store.put(KEY, _body(holder, clock() + LASTS), if_absent=True).etag
    present = json.loads(data)
    if present["until"] > clock():
        raise Conflict(f"the vault is held by {present['holder']}", remedy="wait until it is done, then try again")
    return store.put(KEY, _body(holder, clock() + LASTS), if_match=etag).etag


def _body(holder: str, until: float) -> bytes:
    return json.dumps({"holder": holder, "until": until}).encode()
