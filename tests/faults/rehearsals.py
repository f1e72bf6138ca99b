"""Rehearsals in a row on real regions, with every fault in turn: each must go well, and leave the region as it was."""

from __future__ import annotations

from caravan.stack.machine import EmbeddedMachine
from recovery.drills.faults import FAULTS
from recovery.drills.rehearsal import rehearse
from tests.faults.outcome import Outcome
from tests.scenarios.lost_region import Shop, serves
from tests.scenarios.two_regions import primary_again, two_regions


def run(seed: int, count: int) -> Outcome:
    outcome, names = Outcome(count=count), list(FAULTS)
    with two_regions() as s:
        shop = Shop(primary_again(s))
        shop.prepare()
        shop.act(40)
        standby = s.of_region("standby")
        for number in range(seed, seed + count):
            fault = names[number % len(names)]
            score, _ = rehearse(standby, EmbeddedMachine(standby), EmbeddedMachine(s), fault=fault, count=30)
            outcome.failures += [f"{number}, {fault}: {failure}" for failure in score.failures()]
            if serves(s) != shop.digest:
                outcome.failures.append(f"{number}, {fault}: the active region does not answer afterwards")
            print(f"  {fault}: first answer {score.first_answer:.0f} s, all {score.full_capacity:.0f} s", flush=True)
    return outcome
