"""What two nights of a shop differ by chance, measured: `python -m tests.bench.nights`, resumable.

Twenty unchanging shops of the demo's size, seven nights each, trained in full every night and warm from the night
before; four shops that change, fourteen nights, as the chain trains them. What is done is kept in `.caravan-nights/`;
all of it together is written to tests/bench/nights.json, which the simulation of the gate (tests/bench/night_rules.py)
and docs/nightly.md are made from.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import torch

from contracts.settings import DEFAULT_GATE_MARGIN
from retrieval import metrics
from tests.bench.night_shops import Model, Questions, Shop, questions, simple, train
from training import gate, recipes
from training.evaluation import compare
from training.models.ranking import Ranking

ROOT = Path(__file__).resolve().parent.parent.parent
STATE = ROOT / ".caravan-nights"
RECORD = Path(__file__).with_name("nights.json")
SHOPS, NIGHTS, CHANGING, CHANGING_NIGHTS = 20, 7, 4, 14
FIRST_CHANGING = 100


def unchanging(seed: int) -> dict[str, Any]:
    """Seven nights of one shop: how each night's model differs from those of all nights before, on its questions."""
    shop = Shop(seed, NIGHTS)
    made: dict[str, list[Model]] = {"full": [], "warm": []}
    pairs = []
    for number in range(NIGHTS):
        read = shop.night(number)
        asked = questions(read)
        made["full"].append(train(read))
        made["warm"].append(train(read, made["warm"][-1]) if number else made["full"][0])
        if not number:
            continue
        others = simple(read, asked)
        for kind, models in made.items():
            ours = asked.asked(models[-1])
            # all that served before, at the end; else the champion alone: to ask six costs more than to train
            before = [asked.asked(model) for model in (models[:-1] if number == NIGHTS - 1 else models[-2:-1])]
            pairs.append(
                {
                    "kind": kind, "seed": seed, "night": number, "questions": len(asked.examples),
                    "level": _level(ours, asked),
                    "champion": _against(ours, before[-1], asked),
                    "levels_before": [_level(ranking, asked) for ranking in before],
                    **{name: _against(ours, ranking, asked) for name, ranking in others.items()},
                }
            )  # fmt: skip
    return {"pairs": pairs}


def changing(seed: int) -> dict[str, Any]:
    """Fourteen nights of a shop that turns: the chain's champion beside a full training of the last day."""
    shop = Shop(seed, CHANGING_NIGHTS, changing=True)
    recipe = recipes.get("quick")
    champion, full_night, refused = train(shop.night(0)), 0, 0
    for number in range(1, CHANGING_NIGHTS):
        read = shop.night(number)
        asked = questions(read)
        full = number - full_night >= recipe.full_every_days
        challenger = train(read, None if full else champion)
        difference = _against(asked.asked(challenger), asked.asked(champion), asked)
        least, _ = gate.margins((difference["error"] ** 2 + recipe.training_noise**2) ** 0.5, 1, DEFAULT_GATE_MARGIN)
        if difference["relative"] < -least:
            refused += 1
            continue
        champion, full_night = challenger, number if full else full_night
    fresh = train(read)
    return {
        "changing": {"seed": seed, "refused": refused, **_against(asked.asked(champion), asked.asked(fresh), asked)}
    }


def _level(ranking: Ranking, asked: Questions) -> float:
    return compare.mean_per_shopper(ranking, asked.shopper)


def _against(ours: Ranking, theirs: Ranking, asked: Questions) -> dict[str, float]:
    """Relative difference and its standard error by the questions, shoppers weighing alike; and the old rule's verdict:
    refused where the 95 % interval of the difference per question lies below 0."""
    found, level = compare.difference(ours, theirs, 17, asked.shopper), _level(theirs, asked)
    a, b = metrics.ndcg(ours.ranks, 10), metrics.ndcg(theirs.ranks, 10)
    _, high = metrics.paired_difference_interval(a, b, 17, groups=asked.shopper)
    return {
        "relative": found["mean"] / level, "error": found["standard_error"] / level, "level": level,
        "low": found["interval"][0] / level, "high": found["interval"][1] / level, "old_rule_refuses": float(high < 0),
    }  # fmt: skip


def _work(name: str, seed: int) -> tuple[str, dict[str, Any]]:
    torch.set_num_threads(1)
    return f"{name}-{seed}", {"unchanging": unchanging, "changing": changing}[name](seed)


def collect() -> dict[str, Any]:
    """Everything measured so far."""
    parts = [json.loads(path.read_text()) for path in sorted(STATE.glob("*.json"))]
    return {
        "recipe": recipes.get("quick").to_dict(),
        "pairs": [pair for part in parts for pair in part.get("pairs", ())],
        "changing": [part["changing"] for part in parts if "changing" in part],
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.bench.nights", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--shops", type=int, default=SHOPS, help="unchanging shops")
    parser.add_argument("--changing", type=int, default=CHANGING, help="shops that change")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--again", action="store_true", help="forget what was measured")
    options = parser.parse_args()
    STATE.mkdir(exist_ok=True)
    if options.again:
        for path in STATE.glob("*.json"):
            path.unlink()
    wanted = [("unchanging", seed) for seed in range(options.shops)]
    wanted += [("changing", FIRST_CHANGING + number) for number in range(options.changing)]
    left = [(name, seed) for name, seed in wanted if not (STATE / f"{name}-{seed}.json").exists()]
    print(f"{len(wanted) - len(left)} of {len(wanted)} shops were measured before", flush=True)
    began = time.monotonic()
    with ProcessPoolExecutor(options.processes) as pool:
        for done in as_completed([pool.submit(_work, name, seed) for name, seed in left]):
            name, body = done.result()
            (STATE / f"{name}.json").write_text(json.dumps(body))
            print(f"{name} measured, {time.monotonic() - began:.0f} s", flush=True)
    RECORD.write_text(json.dumps(collect(), indent=1) + "\n")
    from tests.bench import night_rules

    night_rules.report(RECORD)
    return 0


if __name__ == "__main__":
    sys.exit(main())
