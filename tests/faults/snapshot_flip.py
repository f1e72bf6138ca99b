"""One bit flipped at a random place of a snapshot: every one is detected, and the file is named."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

from contracts.errors import Tampered
from recovery.snapshots import verify
from tests.faults.outcome import Outcome
from tests.recovery.vaults import SmallRegion


def run(seed: int, count: int) -> Outcome:
    """`count` flips, spread over all bytes of a snapshot: manifest, list of objects, copies, sealed parts."""
    outcome = Outcome(count=count)
    with tempfile.TemporaryDirectory() as folder:
        region = SmallRegion(Path(folder))
        draw = random.Random(0)
        for number in range(6):
            files = {f"f{n}": draw.randbytes(draw.randrange(20_000)).hex() for n in range(4)}
            region.publish(f"lake/shop/events/2026-03-0{number + 1}", **files)
        one = region.snapshot(draw.randbytes(10_000))
        names = sorted(key for key in region.memory.objects if not key.startswith("leases/"))
        sizes = [len(region.memory.objects[key]) for key in names]
        for case in range(seed, seed + count):
            [key] = random.Random(case).choices(names, sizes)
            kept = region.memory.objects[key], region.memory.history[key]
            position = random.Random(-case - 1).randrange(len(kept[0]))
            region.memory.rot(key, position)
            try:
                found = region.catalog.read(one.sequence)
                problems = verify.verify(region.vault, found, region.s, deep=True).problems
            except Tampered as error:
                problems = (str(error),)
            if not any(key in problem for problem in problems):
                outcome.failures.append(f"seed {case}: byte {position} of {key} is not noticed: {problems}")
            region.memory.objects[key], region.memory.history[key] = kept
    return outcome
