"""Holds the exclusive, expiring write lock of the vault: one object, moved by compare-and-set.

Files that are being copied are not named by any snapshot yet, so nothing may be removed meanwhile. The holder renews
the lock. A holder that died on this machine is noticed at once, one elsewhere when its lock expires.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from artifacts.publish import Store
from contracts.errors import CaravanError, Conflict, NotFound, Tampered

KEY = "leases/vault.json"
#: Seconds until the lock of a holder that stops renewing it expires, and seconds between two renewals.
LASTS, RENEW_EVERY = 60.0, 15.0


@contextmanager
def hold(store: Store, what: str, *, patience: float = 0.0, clock: Callable[[], float] = time.time) -> Iterator[None]:
    """Hold the vault lock for `what`.

    Raises Conflict, naming the holder, when somebody else still holds it after `patience` seconds.
    """
    deadline = clock() + patience
    while True:
        try:
            lease = _VaultLock(store, what, clock)
            break
        except Conflict:
            if clock() >= deadline:
                raise
            time.sleep(0.5)
    done = threading.Event()
    renewing = threading.Thread(target=lease.renew, args=(done,), name="lease", daemon=True)
    renewing.start()
    try:
        yield
    finally:
        done.set()
        renewing.join()
        lease.give_back()


class _VaultLock:
    def __init__(self, store: Store, what: str, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock
        self._about = {"what": what, "host": socket.gethostname(), "process": os.getpid()}
        try:
            data, etag = _read(store)
        except NotFound:
            self._etag = store.put(KEY, self._body(LASTS), if_absent=True).etag
            return
        present = json.loads(data)
        if present["until"] > clock() and not _died(present):
            raise Conflict(
                f"the vault is held by a {present['what']} on {present['host']} (process {present['process']})",
                remedy="wait until it is done, then try again",
            )
        self._etag = store.put(KEY, self._body(LASTS), if_match=etag).etag

    def renew(self, done: threading.Event) -> None:
        while not done.wait(RENEW_EVERY):
            with suppress(CaravanError):  # the store is away, or it ran out: what is under way finds out by itself
                self._etag = self._store.put(KEY, self._body(LASTS), if_match=self._etag).etag

    def give_back(self) -> None:
        with suppress(CaravanError):
            self._store.put(KEY, self._body(0.0), if_match=self._etag)

    def _body(self, lasts: float) -> bytes:
        return json.dumps({**self._about, "until": self._clock() + lasts}).encode()


def _read(store: Store) -> tuple[bytes, str]:
    """Return the lock object and its etag; a damaged one that nobody renews counts as expired."""
    try:
        return store.read(KEY)
    except Tampered:
        stored = store.head(KEY)
    time.sleep(RENEW_EVERY + 1)  # whoever holds it renews it meanwhile
    try:
        return store.read(KEY)
    except Tampered:
        return b'{"until": 0}', stored.etag if stored else ""


def _died(present: dict[str, Any]) -> bool:
    """Return whether the holder was a process of this machine that no longer exists."""
    if present["host"] != socket.gethostname():
        return False
    try:
        os.kill(int(present["process"]), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
