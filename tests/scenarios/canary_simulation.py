"""How often the canary's judge is right.

    python -m tests.scenarios.canary_simulation [--releases 10000] [--out docs/canary.md]

Each simulated release has all guardrails of the default policy. The harmful ones have the base rate in both arms,
except that errors are r times as frequent in the canary; clicks, carts and purchases have fixed rates.
"""

from __future__ import annotations

import argparse
import time
import zlib
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import beta

from monitoring.canary_policy import CanaryPolicy
from monitoring.guardrails import Guardrail
from tests.scenarios import canary_judges as judges
from tests.scenarios.canary_streams import KINDS, WINDOWS, Kind, stream, traffic

POLICY = CanaryPolicy()
RATIOS = (1.0, 1.25, 1.5, 2.0, 5.0, 10.0)
BASES = (0.0, 0.001, 0.01)
USUAL = {"clicks": 0.2, "carts": 0.05, "purchases": 0.015}  # shoppers with one, in both arms
CHUNK = 2500
ERRORS = POLICY.guardrails[0]
CLICKS = next(g for g in POLICY.guardrails if g.name == "clicks")


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One kind of release: base rate of harm, errors of the canary, clicks lost (control's over canary's rate).

    `incidents`: harm comes in bouts that both arms share: 15 times the usual rate in a twentieth of the windows.
    """

    kind: Kind
    base: float
    errors: float
    clicks_lost: float = 1.0
    incidents: bool = False

    def canary_rate(self, guardrail: Guardrail) -> float:
        """Shoppers of the canary with an event of the guardrail, as a share."""
        if guardrail is ERRORS:
            return self.errors
        if guardrail is CLICKS:
            return USUAL["clicks"] / self.clicks_lost
        return self.base if guardrail.harm == "more" else USUAL[guardrail.name]

    @property
    def harmless(self) -> bool:
        """Nothing is worse than in the control."""
        return self.errors == self.base and self.clicks_lost == 1

    @property
    def over(self) -> bool:
        """Over the line that a promotion must prove to be below."""
        errors = self.errors >= max(ERRORS.ratio * self.base, ERRORS.delta) - 1e-12
        return errors or self.clicks_lost >= CLICKS.ratio


@dataclass(frozen=True, kw_only=True)
class Result:
    """Counts of releases. `shoppers`: median per arm at an abort or promotion; None when there was none."""

    cell: Cell
    releases: int
    aborted: int
    promoted: int
    voided: int
    shoppers: float | None
    threshold_rule: int
    mann_whitney: int
    counting_repeats: int

    @property
    def held(self) -> int:
        return self.releases - self.aborted - self.promoted - self.voided


def grid() -> list[Cell]:
    """Traffic x base rate x r: 90 cells. Of the six with base rate 0 in one traffic each is the same, run once."""
    return [Cell(kind=k, base=b, errors=b * r) for k in KINDS for b in BASES for r in RATIOS]


def clean_control() -> list[Cell]:
    """A control without any error: there r says nothing, the canary's own rate does."""
    return [Cell(kind=k, base=0.0, errors=e) for k in KINDS for e in (0.005, 0.01, 0.02)]


def lost_clicks() -> list[Cell]:
    return [Cell(kind="steady", base=0.001, errors=0.001, clicks_lost=s) for s in (1.0, 1.1, 1.25, 1.5, 2.0)]


def shared_incidents() -> list[Cell]:
    return [Cell(kind="steady", base=b, errors=b * r, incidents=True) for b in (0.001, 0.01) for r in (1.0, 2.0, 5.0)]


def simulate(cells: list[Cell], releases: int) -> list[Result]:
    """Run cells of the same traffic and base rate, on the same shoppers. A cell's result depends on nothing else."""
    chunks = [min(CHUNK, releases - start) for start in range(0, releases, CHUNK)]
    parts = [_chunk(cells, number, n) for number, n in enumerate(chunks)]
    return [_result(cell, [part[i] for part in parts]) for i, cell in enumerate(cells)]


def _chunk(cells: list[Cell], number: int, n: int) -> list[tuple[judges.Decided, list[int]]]:
    ground = (cells[0].kind, cells[0].base, cells[0].incidents)
    kind, base, incidents = ground
    if any((c.kind, c.base, c.incidents) != ground for c in cells):
        raise ValueError("cells simulated together have one traffic and one base rate")

    def random(*key: object) -> np.random.Generator:
        return np.random.default_rng([number, zlib.crc32(repr((ground, key)).encode())])

    shoppers = traffic(kind, n, random("traffic"))
    factor = np.where(random("incidents").random((WINDOWS, n)) < 0.05, 15.0, 0.25 / 0.95) if incidents else None
    weighed: dict[tuple[str, float], judges.Weighed] = {}
    rivals: dict[float, list[int]] = {}

    def weigh(guardrail: Guardrail, canary: float) -> judges.Weighed:
        key = (guardrail.name, canary)
        if key not in weighed:
            harmful = guardrail.harm == "more"
            rates: list[Any] = [base if harmful else USUAL[guardrail.name], canary]
            if harmful and factor is not None:
                rates = [rate * factor for rate in rates]
            s = stream(shoppers, kind if harmful else "steady", rates[0], rates[1], random(*key))
            weighed[key] = judges.weigh(POLICY, shoppers, guardrail, s)
            if guardrail is ERRORS:
                repeats = judges.crossed(
                    s.canary_failures.cumsum(axis=0), s.control_failures.cumsum(axis=0), POLICY.log_abort
                )
                masks = (judges.threshold_rule(s), judges.mann_whitney_judge(s), repeats.any(axis=0))
                rivals[canary] = [int(mask.sum()) for mask in masks]
        return weighed[key]

    return [
        (
            judges.e_process_judge(POLICY, shoppers, [weigh(g, c.canary_rate(g)) for g in POLICY.guardrails]),
            rivals[c.errors],
        )
        for c in cells
    ]


def _result(cell: Cell, parts: list[tuple[judges.Decided, list[int]]]) -> Result:
    decision = np.concatenate([decided.decision for decided, _ in parts])
    ended = np.isin(decision, (judges.ABORT, judges.PROMOTE))
    shoppers = np.concatenate([decided.shoppers for decided, _ in parts])[ended]
    threshold_rule, mann_whitney, repeats = (
        sum(counts) for counts in zip(*(rivals for _, rivals in parts), strict=True)
    )
    return Result(
        cell=cell,
        releases=len(decision),
        aborted=int((decision == judges.ABORT).sum()),
        promoted=int((decision == judges.PROMOTE).sum()),
        voided=int((decision == judges.VOID).sum()),
        shoppers=float(np.median(shoppers)) if shoppers.size else None,
        threshold_rule=threshold_rule,
        mann_whitney=mann_whitney,
        counting_repeats=repeats,
    )


def interval(count: int, releases: int, level: float = 0.95) -> tuple[float, float]:
    """Exact binomial (Clopper-Pearson) interval of a share."""
    tail = (1 - level) / 2
    low = 0.0 if count == 0 else float(beta.ppf(tail, count, releases - count + 1))
    high = 1.0 if count == releases else float(beta.ppf(1 - tail, count + 1, releases - count))
    return low, high


def run(cells: list[Cell], releases: int) -> list[Result]:
    """All cells, in their order."""
    grounds: dict[tuple[object, ...], list[Cell]] = {}
    for cell in dict.fromkeys(cells):
        grounds.setdefault((cell.kind, cell.base, cell.incidents), []).append(cell)
    found = {r.cell: r for group in grounds.values() for r in simulate(group, releases)}
    return [found[cell] for cell in cells]


def main() -> None:
    """Simulate, print the tables, and write them into the marked region of a page."""
    from tests.scenarios import canary_page

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--releases", type=int, default=10_000, help="per cell")
    parser.add_argument("--out", type=Path, help="page whose generated region is rewritten; a chart goes beside it")
    chosen = parser.parse_args()
    started = time.process_time()
    groups = (grid(), clean_control(), lost_clicks(), shared_incidents())
    results = run([cell for group in groups for cell in group], chosen.releases)
    rest = iter(results)
    text = canary_page.render(*(list(islice(rest, len(group))) for group in groups))
    print(text)
    print(f"\n{chosen.releases} releases per cell in {time.process_time() - started:.0f} s of one core")
    if chosen.out:
        canary_page.write(chosen.out, text, results[: len(groups[0])])


if __name__ == "__main__":
    main()
