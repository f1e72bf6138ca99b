"""What the gate's rule does on nights like the measured ones: `python -m tests.bench.night_rules`.

Drawn from the residuals in tests/bench/nights.json: nights of an unchanging shop, models that are worse by a known
loss, and sixty nights that lose half a percent each. The rule before (refused when the 95 % interval of the difference
per question lies below 0) stands beside.
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from contracts.settings import DEFAULT_GATE_MARGIN
from training import recipes
from training.evaluation.evaluate import KEPT_ANCHORS
from training.evaluation.rivals import ANCHOR_DAYS, MOST_ANCHORS
from training.gate import margins

RECORD = Path(__file__).with_name("nights.json")
PICTURE = Path(__file__).resolve().parent.parent.parent / "docs" / "images" / "night_noise.svg"
KINDS = ("full", "warm")
WEEK = recipes.get("quick").full_every_days
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Residuals:
    """Relative differences of consecutive nights of unchanging shops, and their standard errors by the questions."""

    difference: Floats
    error: Floats

    @classmethod
    def of(cls, record: dict[str, Any], kind: str) -> Residuals:
        pairs = [pair["champion"] for pair in record["pairs"] if pair["kind"] == kind]
        return cls(np.array([p["relative"] for p in pairs]), np.array([p["error"] for p in pairs]))

    @property
    def rms(self) -> float:
        return float(np.sqrt(np.mean(self.difference**2)))

    @property
    def noise(self) -> Floats:
        """The differences without their mean: that a night knows a day more is no chance."""
        return self.difference - self.difference.mean()

    @property
    def training(self) -> float:
        """Standard deviation of what neither the questions nor the day more explain."""
        return math.sqrt(max(0.0, float(np.mean(self.noise**2)) - float(np.mean(self.error**2))))

    def rms_interval(self, seed: int = 17) -> tuple[float, float]:
        draw = np.random.default_rng(seed).choice(self.difference, (2_000, len(self.difference)))
        low, high = np.quantile(np.sqrt((draw**2).mean(axis=1)), [0.025, 0.975])
        return float(low), float(high)


@dataclass(frozen=True)
class Rule:
    """Margins per night: m against the champion, M against the best of the anchors."""

    training: float

    def refuses(self, behind: Floats, behind_anchor: Floats, error: Floats, anchors: int) -> npt.NDArray[np.bool_]:
        """bool [N]: `behind` and `behind_anchor` are observed losses [N], error [N] that of the questions."""
        noise = np.round(np.hypot(error, self.training), 4)
        both = {n: margins(float(n), anchors, DEFAULT_GATE_MARGIN) for n in np.unique(noise)}
        least = np.array([both[n][0] for n in noise])
        most = np.array([both[n][1] for n in noise])
        found: npt.NDArray[np.bool_] = (behind > least) | (behind_anchor > most)
        return found


@dataclass(frozen=True)
class Chains:
    """What became of many chains of nights: share of nights refused, of chains whose champion sank by 10 % or more, and
    the mean of how low each sank."""

    refused: float
    sank: float
    lowest: float


def chains(
    full: Residuals, warm: Residuals | None, rule: Rule | None, *, loss: float, of_champion: bool = True,
    nights: int = 60, count: int = 400,
) -> Chains:  # fmt: skip
    """Draw chains of nights; without a `rule` the one before judges: the whole 95 % interval below 0.

    Each night's challenger is worse by `loss` than the champion (of_champion), or than the challenger of the night
    before, whether that one was let pass or not. Beside that a model has an effect of its own, which stays with it: two
    full trainings differ by one residual, so each has its share, the residual over the square root of two. With `warm`,
    a full training comes once a week, and what starts from a champion keeps part of its effect: so much that two
    neighbours differ as the warm pairs do. The questions are new every night, for all models of it. How low a chain
    sank is what endless questions would say of the worst that served: its level and its own effect.
    """
    draw = np.random.default_rng(3)
    own = full.noise / max(1e-12, float(full.noise.std())) * full.training / math.sqrt(2)
    stays = math.sqrt(max(0.0, 1 - (warm.training / own.std()) ** 2)) if warm and own.std() > 0 else 0.0
    refused, lowest = 0, []
    for _ in range(count):
        served = [(0, 0.0, float(draw.choice(own)))]  # night, level, own effect
        kept: list[tuple[int, float, float]] = []  # the anchors that answered better than the champion
        full_night = 0
        for night in range(1, nights + 1):
            began, level, effect = served[-1]
            again = warm is None or night - full_night >= WEEK
            base = (level if of_champion else -loss * (night - 1)) - loss
            fresh = float(draw.choice(own))
            ours = base + (fresh if again else stays * effect + math.sqrt(1 - stays**2) * fresh)
            ends = [later for later, _, _ in served[1:]] + [night]
            window = [one for one, end in zip(served, ends, strict=True) if end >= began - ANCHOR_DAYS]
            anchors = list(dict.fromkeys([served[-1], *kept, *reversed(window)]))[:MOST_ANCHORS]
            error = draw.choice(full.error if again or warm is None else warm.error, 1)
            common = float(draw.normal())
            seen = [one[1] + one[2] + float(e) * (common + float(draw.normal())) / math.sqrt(2)
                    for one, e in zip(anchors, draw.choice(full.error, len(anchors)), strict=True)]  # fmt: skip
            behind = np.array([level + effect - ours]) + error * (common + draw.normal(size=1)) / math.sqrt(2)
            if rule is None:
                no = bool(behind[0] > 1.96 * error[0])
            else:
                no = bool(rule.refuses(behind, np.array([max(seen) - ours]), error, len(anchors))[0])
            if no:
                refused += 1
                continue
            better = sorted(((f, one) for f, one in zip(seen, anchors, strict=True) if f > ours), reverse=True)
            kept = [one for _, one in better[:KEPT_ANCHORS]]
            served.append((night, base, ours - base))
            full_night = night if again else full_night
        lowest.append(min(level + effect for _, level, effect in served))
    low = np.array(lowest)
    return Chains(refused / (count * nights), float((low <= -0.10).mean()), float(low.mean()))


def worse_models(found: Residuals, rule: Rule, low: float, high: float, *, seed: int = 2) -> tuple[float, float]:
    """Share refused of models whose true loss lies between low and high: only the questions are chance."""
    draw = np.random.default_rng(seed)
    error = draw.choice(found.error, 100_000)
    behind = draw.uniform(low, high, len(error)) + error * draw.normal(size=len(error))
    return float(rule.refuses(behind, behind, error, 1).mean()), float((behind > 1.96 * error).mean())


def report(path: Path = RECORD) -> None:
    """Print every figure that docs/nightly.md shows, and draw its picture."""
    record = json.loads(path.read_text())
    measured = recipes.get("quick").training_noise
    rule = Rule(training=measured)
    for kind in KINDS:
        found = Residuals.of(record, kind)
        if not len(found.difference):
            continue
        low, high = found.rms_interval()
        print(
            f"{kind}: {len(found.difference)} pairs, root mean square {found.rms:.2%} ({low:.2%} to {high:.2%}), mean "
            f"{found.difference.mean():+.2%}, questions {np.sqrt(np.mean(found.error**2)):.2%}, training "
            f"{found.training:.2%} (recipe says {measured:.2%})"
        )
        for low, high in ((0.09, 0.11), (0.24, 0.26)):
            new, old = worse_models(found, rule, low, high)
            print(f"  models {low:.0%} to {high:.0%} worse refused: {new:.2%} (old rule {old:.2%})")
        real = [pair for pair in record["pairs"] if pair["kind"] == kind]
        refused = [_refused(pair, rule) for pair in real]
        old_refused = sum(bool(pair["champion"]["old_rule_refuses"]) for pair in real)
        print(f"  of the {len(real)} measured nights: {sum(refused)} refused (old rule {old_refused})")
        near = np.array([pair["last_item_neighbours"]["relative"] for pair in real])
        print(
            f"  against neighbours: {near.mean():+.1%}; against popularity never below "
            f"{min(pair['popularity']['low'] for pair in real):+.0%}"
        )
    found = {kind: Residuals.of(record, kind) for kind in KINDS}
    for name, warm in (("full every night", None), ("as the chain trains", found["warm"])):
        good, old = (chains(found["full"], warm, one, loss=0.0, nights=90) for one in (rule, None))
        print(f"{name}: good nights refused {good.refused:.2%} of {400 * 90:,} (old rule {old.refused:.2%})")
        for of_champion in (False, True):
            slow, old = (chains(found["full"], warm, one, loss=0.005, of_champion=of_champion) for one in (rule, None))
            what = "than the champion" if of_champion else "than the night before"
            print(
                f"  sixty nights, each 0.5 % worse {what}: {slow.sank:.1%} of the chains sank by 10 %, the mean by "
                f"{-slow.lowest:.1%} (old rule {old.sank:.1%}, {-old.lowest:.1%})"
            )
    for shop in record["changing"]:
        print(
            f"changing shop {shop['seed']}: the chain's champion against a full training of the day "
            f"{shop['relative']:+.1%} ({shop['low']:+.1%} to {shop['high']:+.1%}), {shop['refused']} nights refused"
        )
    if record["changing"]:
        values = np.array([shop["relative"] for shop in record["changing"]])
        spread = 1.96 * math.hypot(*[shop["error"] for shop in record["changing"]]) / len(values)
        print(f"all changing shops: {values.mean():+.2%} ± {spread:.2%} (questions alone)")
    draw_picture(record, rule)


def _refused(pair: dict[str, Any], rule: Rule) -> bool:
    before = pair["levels_before"]
    one = pair["champion"]
    behind, error = np.array([-one["relative"]]), np.array([one["error"]])
    best = np.array([1 - pair["level"] / max(before)])
    return bool(rule.refuses(behind, best, error, len(before))[0])


def draw_picture(record: dict[str, Any], rule: Rule) -> None:
    """Every measured pair, with the margins."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "caravan"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.6), sharey=True)
    for axis, kind in zip(axes, KINDS, strict=True):
        found = Residuals.of(record, kind)
        if not len(found.difference):
            continue
        least, _ = margins(math.hypot(float(found.error.mean()), rule.training), 1, DEFAULT_GATE_MARGIN)
        axis.axhspan(-12, -100 * least, color="#f4d6d2")
        axis.axhline(0, color="#999999", linewidth=0.8)
        axis.errorbar(
            np.arange(len(found.difference)), 100 * found.difference, yerr=196 * found.error, fmt="o", markersize=3,
            elinewidth=0.5, color="#2f6f8f", ecolor="#b8cdd6",
        )  # fmt: skip
        axis.set_title(f"{kind} trainings: root mean square {found.rms:.1%}", fontsize=10)
        axis.set_xlabel("pairs of consecutive nights, shop by shop", fontsize=9)
        axis.set_ylim(-12, 12)
        axis.text(1, -100 * least - 1.2, f"refused: below -{least:.1%}", fontsize=8, color="#9c3a2e")
    axes[0].set_ylabel("difference to the night before, %\n(bars: 95 % by the questions)", fontsize=9)
    figure.tight_layout()
    figure.savefig(PICTURE, metadata={"Date": None})
    pyplot.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="tests.bench.night_rules", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    parser.add_argument("--record", type=Path, default=RECORD, help="measured pairs, see tests.bench.nights")
    report(parser.parse_args().record)


if __name__ == "__main__":
    main()
