"""Releases that do harm, each in its own way, met by replayed shoppers: each is found, named, and stays away.

A case is one release that passes through a real edge, real engines and the real ledger, with our controller. What
breaks it is injected between the edge and the engine, into the engine's process, or into the bundle itself.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import psutil
import pyarrow.parquet as pq

from contracts import release as files
from contracts.settings import Settings
from contracts.sockets import SCHEME
from serving.edge import edge
from tests.faults.outcome import Outcome
from tests.faults.regions import region
from tests.scenarios.live_canary import ITEMS, LiveCanary
from tests.serving import live

#: Seconds in which a canary must be without shoppers once it was found out.
AT_ZERO = 5.0
#: The share of questions that fail at the champion, too.
BASE = 0.02


@dataclass(frozen=True, kw_only=True)
class Case:
    """One way of being bad: words that its verdict must hold one of, and how it is broken."""

    named: tuple[str, ...]
    around: Callable[[LiveCanary], AbstractContextManager[object]] = lambda _: nullcontext()
    once_met: Callable[[LiveCanary], AbstractContextManager[object]] = lambda _: nullcontext()
    spoil: Callable[[Path], None] | None = None
    unavailable: tuple[int, ...] = ()
    rate: float = 50.0  # requests a second; the smaller the harm, the more shoppers it takes to show


def failing(times: float) -> Callable[[LiveCanary], AbstractContextManager[object]]:
    """The champion fails BASE of all questions, the canary `times` as many."""
    return lambda it: it.proxies(control=("--errors", f"{BASE}"), canary=("--errors", f"{times * BASE}"))


@contextmanager
def stopped(it: LiveCanary) -> Iterator[None]:
    """The canary's engine is there and answers nothing."""
    name = it.s.engine_address_of("canary").removeprefix(SCHEME)
    victims = [p for p in psutil.process_iter() if any(c.laddr == name for c in _connections(p))]
    assert victims, "no process listens where the canary's engine should"
    for victim in victims:
        os.kill(victim.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for victim in victims:
            os.kill(victim.pid, signal.SIGCONT)


def _connections(process: psutil.Process) -> list[psutil._common.pconn]:
    try:
        return process.net_connections(kind="unix")
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return []


@contextmanager
def stale(it: LiveCanary) -> Iterator[None]:
    """The canary's engine finds every feature too old."""
    with (
        live.following(it.s, "canary", CARAVAN_FEATURE_AGE_LIMIT="0.001") as engine,
        it.proxies(canary_url=engine.url),
    ):
        yield


def shuffled(bundle: Path) -> None:
    """The right vectors under the wrong names: fast, whole, and wrong."""
    table = pq.read_table(bundle / files.ITEMS)
    ids = table["item_id"].to_pylist()
    turned = random.Random(0).sample(ids, len(ids))
    pq.write_table(table.set_column(0, table.field("item_id"), [turned]), bundle / files.ITEMS, coerce_timestamps="us")


def crashing(bundle: Path) -> None:
    """A program that cannot be loaded."""
    (bundle / files.SEQUENCE_PROGRAM).write_bytes(b"\x08 not a program")


CASES: dict[str, Case] = {
    "empty answers": Case(named=("empty_answers",), unavailable=tuple(range(ITEMS))),
    "a crash at start": Case(named=("warm_up",), spoil=crashing),
    "a hang": Case(named=("timeouts", "errors"), once_met=stopped),
    "+200 ms": Case(named=("over_budget",), around=lambda it: it.proxies(canary=("--delay", "0.2"))),
    "shuffled item ids": Case(named=("clicks",), spoil=shuffled),
    "errors at 10x": Case(named=("errors",), around=failing(10)),
    "errors at 5x": Case(named=("errors",), around=failing(5)),
    "stale features": Case(named=("stale_features",), around=stale),
    "errors at 2x": Case(named=("errors",), around=failing(2), rate=80.0),
}


def judged(it: LiveCanary, name: str) -> str | None:
    """Send one bad release; what is wrong with how that ended, or None."""
    case = CASES[name]
    folder = it.s.paths.edge
    # the champion's own weights: what differs is what was broken, and nothing else
    bad = it.release(unavailable=case.unavailable, change=case.spoil)
    with case.around(it), it.traffic(rate=case.rate):
        it.approve(bad)
        reached = it.wait(bad, "shadow", "rolled_back")
        if reached == "shadow" and case.once_met(it).__class__ is not nullcontext:
            it.wait(bad, "canary_25", "canary_50", "rolled_back")
        with case.once_met(it):
            it.wait(bad, "rolled_back", "champion", seconds=400)
        decided = time.monotonic()
        while (split := edge.read_split(folder)) is not None and split.canary and time.monotonic() < decided + AT_ZERO:
            time.sleep(0.02)
        if it.state(bad) == "champion":
            return "it became champion"
        if split is None or split.canary:
            return f"its canary still has shoppers after {AT_ZERO} s"
        if not any(word in it.reason(bad) for word in case.named):
            return f"the verdict names {it.reason(bad)!r}, not {case.named}"
        time.sleep(1.0)  # looks in which it could come back
        again = edge.read_split(folder)
        if again is None or again.canary or it.state(bad) != "rolled_back":
            return "it came back"
    return None


def run(seed: int, count: int, s: Settings | None = None) -> Outcome:
    """`count` bad releases, the kinds in turn, in one region."""
    outcome = Outcome(count=count)
    names = list(CASES)
    it = LiveCanary(s or region())
    with it.controlled():
        champion = it.champion()
        for number in range(seed, seed + count):
            name = names[number % len(names)]
            try:
                wrong = judged(it, name)
                it.await_serving(champion)
            except Exception as error:
                wrong = f"{type(error).__name__}: {error}"
            if wrong:
                outcome.failures.append(f"{name}, seed {number}: {wrong}")
    return outcome
