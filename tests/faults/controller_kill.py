"""The controller dies by kill -9 at random moments while it brings a release to its end: the next one goes on.

Judged from outside after every kill: the split is whole, no shopper is with a release that is neither champion nor on
its way, there is one champion, every row of the ledger is a legal move. At the end a clean release is champion and a
harmful one has no shoppers, whatever was killed on the way.
"""

from __future__ import annotations

import os
import random
import signal
import tempfile
import time
import uuid
from pathlib import Path

from sqlalchemy import Engine, create_engine

from artifacts.ledger import Ledger
from contracts.release import CANARY_SHARE, MOVES, NOTES
from contracts.settings import Settings
from serving.edge import edge
from tests.faults.outcome import Outcome
from tests.faults.regions import region
from tests.releases.fake_region import FolderRegion, approved, own_database
from tests.releases.own_ledger import let_serve

#: Longest life of a controller at first, in seconds: some looks at a release, or a part of one.
LIFE = 0.6
#: Lives after which a release must have come to its end.
LIVES = 200


def run(seed: int, count: int, s: Settings | None = None) -> Outcome:
    """At least `count` kills; as many releases as that takes."""
    s = s or region()
    outcome = Outcome(count=0)
    with own_database(s, f"kills_{uuid.uuid4().hex[:8]}") as engine, tempfile.TemporaryDirectory() as folder:
        it = FolderRegion(Path(folder), s)
        ledger, source = Ledger(engine, "primary"), f"shop-{seed}"
        let_serve(ledger, source)
        champion = approved(ledger, source, f"{seed:064x}")
        for _ in range(4):
            it.controller(ledger, engine).tick()
        number = 0
        while outcome.count < count:
            number += 1
            draw = random.Random(f"{seed}-{number}")
            digest = approved(ledger, source, f"{draw.getrandbits(256):064x}")
            harmful = draw.random() < 0.5
            kills, problems = _one(it, ledger, engine, source, champion, digest, harmful=harmful, draw=draw)
            outcome.count += kills
            outcome.failures += [f"seed {seed}, release {number}: {problem}" for problem in problems]
            if ledger.state(source, digest) == "champion":
                champion = digest
        try:
            ledger.verify()
        except Exception as error:
            outcome.failures.append(f"seed {seed}: {error}")
    return outcome


def _one(
    it: FolderRegion,
    ledger: Ledger,
    engine: Engine,
    source: str,
    champion: str,
    digest: str,
    *,
    harmful: bool,
    draw: random.Random,
) -> tuple[int, list[str]]:
    """One release; (kills meanwhile, what was wrong)."""
    met, kills, problems, before, stuck = 0, 0, [], None, 0
    for life in range(LIVES):
        state = ledger.state(source, digest)
        if state in ("champion", "rolled_back"):
            break
        if state == "shadow" != before:
            it.asked_in_the_shadow(champion, digest)
        if state in CANARY_SHARE and (state != before or life % 5 == 0):
            it.met("control", champion, 400, first=met)
            it.met("canary", digest, 400, first=met, code=500 if harmful else 200)
            it.clock.forward(2)
            met += 400
        stuck = stuck + 1 if state == before else 0
        before = state
        # where a look takes longer than a life, because the machine is busy, lives get longer until one is enough
        kills += _lives_and_dies(it, ledger, engine, draw.random() * LIFE * (1 + stuck / 10))
        problems += _judged(it, ledger, source)
    it.controller(ledger, engine).tick()
    expected = "rolled_back" if harmful else "champion"
    if (ended := ledger.state(source, digest)) != expected:
        problems.append(f"it ended {ended}, not {expected}")
    problems += _judged(it, ledger, source, settled=True)
    return kills, problems


def _lives_and_dies(it: FolderRegion, ledger: Ledger, engine: Engine, life: float) -> int:
    """A child process ticks until it is killed after `life` seconds; 1."""
    child = os.fork()
    if child == 0:
        try:
            own = create_engine(engine.url)  # a connection may not be shared with the parent
            controller = it.controller(Ledger(own, "primary"), own)
            while True:
                controller.tick()
        finally:
            os._exit(1)
    time.sleep(life)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return 1


def _judged(it: FolderRegion, ledger: Ledger, source: str, *, settled: bool = False) -> list[str]:
    """What is wrong, seen from outside."""
    problems = []
    places = ledger.releases(source)
    if sum(place.state == "champion" for place in places) != 1:
        problems.append("there is not one champion")
    problems += [
        f"move {move.sequence} is not legal: {move.from_state} -> {move.to_state}"
        for move in ledger.history(source)
        if move.to_state not in NOTES and move.to_state not in MOVES[move.from_state]
    ]
    split = edge.read_split(it.folder)  # raises nothing: a split whose weights are wrong cannot be made
    if split is None:
        return [*problems, "there is no split"]
    on_its_way = [place for place in places if place.state in CANARY_SHARE]
    if split.canary and settled and not on_its_way:
        problems.append(f"{split.canary} % of shoppers are with a release that is not in progress")
    if split.canary and split.canary not in CANARY_SHARE.values():
        problems.append(f"a share of {split.canary} %")
    return problems
