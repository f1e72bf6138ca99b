"""Holds the exclusive, expiring write lock of the vault: one object, moved by compare-and-set.

Files that are being copied are not named by any snapshot yet, so nothing may be removed meanwhile. The holder renews
the lock. A holder that died on this machine is noticed at once, one elsewhere when its lock expires.

A holder that was suspended may have lost it without knowing. So the lock is a fence: right before the manifest is
written, and before each batch of removals, the holder moves the object once more (`Held.demand`) and stops when it
cannot. What anybody could have written there, an end in the year 3000 or no JSON at all, holds nothing: only a lock
that somebody renews does.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol

from artifacts.publish import Store
from contracts.errors import CaravanError, Conflict, NotFound, Tampered

KEY = "leases/vault.json"
#: Seconds until the lock of a holder that stops renewing it expires, and seconds between two renewals.
LASTS, RENEW_EVERY = 60.0, 15.0
#: Seconds that the clock of a holder elsewhere may be ahead; an end beyond that is not believed.
AHEAD = 60.0


class Held(Protocol):
    """The vault lock, held."""

    def demand(self) -> None:
        """Move the lock once more; raise Conflict if somebody else has it now, StoreUnavailable if nobody can tell."""


@contextmanager
def hold(store: Store, what: str, *, patience: float = 0.0, clock: Callable[[], float] = time.time) -> Iterator[Held]:
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
        yield lease
    finally:
        done.set()
        renewing.join()
        lease.give_back()


class _VaultLock:
    def __init__(self, store: Store, what: str, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock
        self._moving = threading.Lock()
        self._about = {
            "what": what, "host": socket.gethostname(), "process": os.getpid(), "token": uuid.uuid4().hex,
        }  # fmt: skip
        try:
            present, etag = _read(store, clock)
        except NotFound:
            self._etag = store.put(KEY, self._body(LASTS), if_absent=True).etag
            return
        if present["until"] > clock() and not _died(present):
            raise Conflict(
                f"the vault is held by a {present['what']} on {present['host']} (process {present['process']})",
                remedy="wait until it is done, then try again",
            )
        self._etag = store.put(KEY, self._body(LASTS), if_match=etag).etag

    def renew(self, done: threading.Event) -> None:
        while not done.wait(RENEW_EVERY):
            with suppress(CaravanError):  # the store is away, or it is lost: who holds it asks before it matters
                self.demand()

    def demand(self) -> None:
        with self._moving:
            try:
                self._etag = self._store.put(KEY, self._body(LASTS), if_match=self._etag).etag
            except Conflict:
                self._etag = self._store.put(KEY, self._body(LASTS), if_match=self._own()).etag

    def _own(self) -> str:
        """Return the etag of what we wrote without hearing that it had arrived. Raises Conflict if we did not."""
        data, etag = self._store.read(KEY)
        if _parsed(data).get("token") != self._about["token"]:
            raise Conflict(
                f"the vault lock was lost while this {self._about['what']} was suspended: somebody else has it",
                remedy="do it again; nothing was written or removed after that",
            )
        return etag

    def give_back(self) -> None:
        with suppress(CaravanError):
            self._store.put(KEY, self._body(0.0), if_match=self._etag)

    def _body(self, lasts: float) -> bytes:
        return json.dumps({**self._about, "until": self._clock() + lasts}).encode()


def _read(store: Store, clock: Callable[[], float]) -> tuple[dict[str, Any], str]:
    """Return the lock and its etag; one that nobody can hold, or that is damaged, and that nobody renews, is expired.

    Raises NotFound when there is none.
    """
    present, etag = _look(store)
    if present and (present["until"] <= clock() + LASTS + AHEAD or _died(present)):
        return present, etag
    time.sleep(max(RENEW_EVERY + 1, 0))  # whoever holds it renews it meanwhile
    again, now = _look(store)
    if not again or (present and now == etag):
        return {"until": 0.0}, now
    return {**again, "until": min(again["until"], clock() + LASTS)}, now


def _look(store: Store) -> tuple[dict[str, Any], str]:
    try:
        data, etag = store.read(KEY)
    except Tampered:
        stored = store.head(KEY)
        return {}, stored.etag if stored else ""
    return _parsed(data), etag


def _parsed(data: bytes) -> dict[str, Any]:
    """Return a lock as its holder wrote it, or nothing when it is none."""
    try:
        body = json.loads(data)
        return {
            "token": str(body.get("token", "")), "what": str(body.get("what", "holder")),
            "host": str(body.get("host", "")), "process": int(body.get("process", 0)), "until": float(body["until"]),
        }  # fmt: skip
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        return {}


def _died(present: dict[str, Any]) -> bool:
    """Return whether the holder was a process of this machine that no longer exists."""
    if present["host"] != socket.gethostname() or present["process"] <= 0:
        return False
    try:
        os.kill(present["process"], 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        return False
    return False
