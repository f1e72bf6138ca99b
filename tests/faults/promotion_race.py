"""Promoters who race: of each pair of moves that cannot both be, one wins, and there is never a second champion.

Case `seed + n` is made from that number alone: some releases stand before their last step, and processes that know
nothing of each other promote and roll back at the same moment, on the real database. All cases of one `run` share one
ledger of its own, so its chain is written by all of them.
"""

from __future__ import annotations

import multiprocessing
import random
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

from sqlalchemy import create_engine, select

from artifacts.ledger import Ledger
from artifacts.tables import moves
from contracts.errors import CaravanError, ChainBroken, Conflict, NotFound
from contracts.settings import Settings
from releases.rollback import rollback
from tests.faults.materializer_kill import region
from tests.faults.outcome import Outcome
from tests.releases.own_ledger import let_serve, move_release, own_database, walk

#: Processes that race, and how many moves each of them tries.
RACERS, TRIES = 4, 3


@dataclass(frozen=True)
class Attempt:
    """One move that one racer tries: a promotion of `digest`, or a rollback when there is none."""

    url: str
    source: str
    digest: str
    racer: int


def run(seed: int, count: int, s: Settings | None = None) -> Outcome:
    """Try `count` races on the region of `s` (by default one that runs already, or one started for this)."""
    outcome = Outcome(count=count)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.faults.promotion_race"])
    with own_database(s or region()) as url, ProcessPoolExecutor(RACERS, mp_context=context) as pool:
        engine = create_engine(url)
        ledger = Ledger(engine, "primary")
        for case in range(seed, seed + count):
            outcome.failures += [f"seed {case}: {problem}" for problem in one(case, ledger, url, pool)]
        try:
            ledger.verify()
        except ChainBroken as error:
            outcome.failures.append(f"seeds {seed} to {seed + count - 1}: {error}")
        with engine.connect() as connection:
            numbers = connection.execute(select(moves.c.sequence).order_by(moves.c.sequence)).scalars().all()
        if list(numbers) != list(range(1, len(numbers) + 1)):
            outcome.failures.append(f"seeds {seed} to {seed + count - 1}: rows are missing or double")
        engine.dispose()
    return outcome


def one(seed: int, ledger: Ledger, url: str, pool: ProcessPoolExecutor) -> list[str]:
    """One race; the sentences that say what was wrong afterwards."""
    draw = random.Random(seed)
    source = f"race-{seed}"
    let_serve(ledger, source)
    digests = [f"{draw.getrandbits(256):064x}" for _ in range(draw.randint(1, 3))]
    for digest in digests[1:]:  # the first is new; the others have served or wait for it
        walk(
            ledger, digest, "built", "gated", "approved", *(["champion"] if draw.random() < 0.5 else []), source=source
        )
    walk(ledger, digests[0], "built", "gated", "approved", source=source)
    before = len(ledger.history(source))
    tries = [
        Attempt(url, source, "" if draw.random() < 0.3 else draw.choice(digests), racer)
        for racer in range(RACERS)
        for _ in range(TRIES)
    ]
    draw.shuffle(tries)
    said = list(pool.map(attempt, tries))
    return _problems(ledger, source, before, said)


def attempt(what: Attempt) -> str:
    """Try one move; `won`, `lost`, or what should not have happened."""
    ledger = _ledger(what.url)
    actor = f"racer {what.racer}"
    try:
        if what.digest:
            move_release(
                ledger, what.source, what.digest, to="champion", expected="approved", actor=actor, reason="race"
            )
            return f"won {what.digest}"
        return f"back {rollback(ledger, what.source, person=actor, reason='race').digest}"
    except (Conflict, NotFound):
        return "lost"
    except CaravanError as error:
        return f"failed: {error}"


def _problems(ledger: Ledger, source: str, before: int, said: list[str]) -> list[str]:
    problems = [answer for answer in said if answer.startswith("failed")]
    champions: set[str] = set()
    crowned: Counter[str] = Counter()
    for number, move in enumerate(ledger.history(source)):
        if move.from_state == "champion":
            champions.discard(move.digest)
        if move.to_state == "champion":
            champions.add(move.digest)
            if number >= before:
                crowned[("won " if move.from_state == "approved" else "back ") + move.digest] += 1
        if len(champions) > 1:
            problems.append(f"two champions after row {move.sequence}")
    told = Counter(answer for answer in said if answer != "lost")
    if told != crowned:
        problems.append(f"winners were told {dict(told)}, the ledger says {dict(crowned)}")
    problems += [f"{name} more than once" for name, times in crowned.items() if name.startswith("won") and times > 1]
    now = {p.digest for p in ledger.releases(source, among=("champion",))}
    if now != champions:
        problems.append(f"champion by its rows {champions}, by its place {now}")
    return problems


_LEDGERS: dict[str, Ledger] = {}


def _ledger(url: str) -> Ledger:
    """One per process."""
    if url not in _LEDGERS:
        _LEDGERS[url] = Ledger(create_engine(url, pool_size=1, max_overflow=0), "primary")
    return _LEDGERS[url]
