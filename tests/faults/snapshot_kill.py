"""The snapshotter killed with SIGKILL at a random moment: no partial snapshot is ever visible, the newest stays whole.

It runs on real regions. Every tenth time each visible snapshot is read again to the last byte and the newest one is
restored whole, into the other region; else the newest is looked at as a restore would.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import tempfile
import time
import uuid
from pathlib import Path

from artifacts.object_store import ObjectStore
from artifacts.publish import fetch, point, publish, resolve
from caravan.stack.machine import EmbeddedMachine
from contracts.errors import CaravanError
from contracts.settings import Settings
from recovery.restore.options import RestoreMode, RestoreOptions
from recovery.restore.recovery_point import Point
from recovery.restore.restore import restore
from recovery.snapshots import verify
from recovery.snapshots.create import create
from recovery.vault.catalog import Catalog
from recovery.vault.manifest import Snapshot
from recovery.vault.vault import Vault
from tests.faults.outcome import Outcome
from tests.scenarios.two_regions import primary_again, two_regions

#: A killed snapshotter may live this many times as long as a whole run takes.
LONGEST = 1.1
#: Where each case lays something new.
KILLS = "lake/kills/events/2026-03-01"


def run(seed: int, count: int, s: Settings | None = None) -> Outcome:
    """`count` kills on the primary of `s`, whose other region must run too; by default on a stack started for this."""
    if s is None:
        with two_regions() as own:
            return run(seed, count, primary_again(own))
    outcome = Outcome(count=count)
    vault = Vault.of(s)
    catalog = Catalog(vault, s)
    began = time.monotonic()
    create(s, EmbeddedMachine(s))
    whole = time.monotonic() - began
    for case in range(seed, seed + count):
        draw = random.Random(case)
        before = catalog.newest()
        _something_new(s, draw)
        _taken_and_killed(s, draw.random() * whole * LONGEST)
        deep = case % 10 == 9
        problems = _judged(s, vault, catalog, before, deep=deep)
        if deep and not problems:
            problems = _restored(s, catalog)
        outcome.failures += [f"seed {case}: {problem}" for problem in problems]
    return outcome


def _restored(s: Settings, catalog: Catalog) -> list[str]:
    """What is wrong with the other region, once the newest snapshot is restored there."""
    newest, standby = catalog.newest(), s.of_region("standby")
    assert newest is not None
    try:
        done = restore(
            standby, EmbeddedMachine(standby), Point.parse(newest.id),
            RestoreOptions(mode=RestoreMode.REHEARSAL, reason="after a kill", although_alive=True),
        )  # fmt: skip
    except CaravanError as error:
        return [f"{newest.id} does not restore: {error}"]
    store = ObjectStore.of(standby)
    digest = resolve(store, KILLS)
    if done.plan["snapshot"] != newest.id or digest is None:
        return [f"{newest.id} was asked for; {done.plan['snapshot']} was restored, with {KILLS} at {digest}"]
    with tempfile.TemporaryDirectory() as folder:
        fetch(store, digest, Path(folder) / "fetched")  # raises when a byte is not its own
    return []


def _something_new(s: Settings, draw: random.Random) -> None:
    store = ObjectStore.of(s)
    with tempfile.TemporaryDirectory() as folder:
        for number in range(4):
            (Path(folder) / f"f{number}").write_bytes(draw.randbytes(draw.randrange(1, 400_000)))
        digest = publish(store, Path(folder), kind="partition", meta={"made": uuid.uuid4().hex}).digest
    point(store, KILLS, digest)


def _taken_and_killed(s: Settings, after: float) -> None:
    child = multiprocessing.get_context("fork").Process(target=create, args=(s, EmbeddedMachine(s)))
    child.start()
    child.join(after)
    if child.pid is not None and child.is_alive():
        os.kill(child.pid, signal.SIGKILL)
    child.join()


def _judged(s: Settings, vault: Vault, catalog: Catalog, before: Snapshot | None, *, deep: bool) -> list[str]:
    """What is wrong, seen from outside."""
    problems = []
    found = list(catalog.newest_first())
    for one in found if deep else found[:1]:
        if not isinstance(one, Snapshot):
            problems.append(f"snapshot {one[0]} is visible and not valid: {one[1]}")
            continue
        report = verify.verify(vault, one, s, deep=deep)
        problems += [f"{one.id} is visible and not whole: {problem}" for problem in report.problems]
    newest = catalog.newest()
    if before is not None and (newest is None or newest.sequence not in (before.sequence, before.sequence + 1)):
        problems.append(f"after {before.id} the newest is {newest.id if newest else 'none'}")
    return problems
