"""Whether what is served is never worse than the best of its parts: `python -m tests.bench.ranking`, resumable.

Generated shops of many seeds in two sizes, each with a date of its own, cut by time as every night is. What is done is
kept in `.caravan-ranking/`; all of it together is written to tests/bench/ranking.json. Public data sets are measured by
`caravan evaluate recommend` (docs/training.md).
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from contracts import release as files
from contracts.settings import settings
from retrieval import metrics
from retrieval.ranking.diversity import choose_diverse, list_diversity
from tests.bench.night_shops import Shop, questions, simple
from training import recipes
from training.evaluation import compare
from training.fitting import launch
from training.fitting.first_stage import KnownItems, Lessons, fit_pipeline
from training.ranker.pipeline import Pipeline

ROOT = Path(__file__).resolve().parent.parent.parent
STATE, RECORD = ROOT / ".caravan-ranking", Path(__file__).with_name("ranking.json")
#: Knobs at which quality and diversity of a list are measured.
KNOBS = (0.0, 0.2, 0.4, 0.6, 0.8, 0.9)
NEIGHBOURS = "last_item_neighbours"


def shop(seed: int, size: float, recipe_name: str) -> dict[str, Any]:
    """Train and ask one night of a generated shop: the whole, every source alone, the floors, the knob."""
    started = time.monotonic()
    read, recipe = Shop(seed, 1, size=size).night(0), recipes.get(recipe_name)
    asked = questions(read)
    items = KnownItems.of(read)
    with tempfile.TemporaryDirectory(prefix="caravan-ranking-") as name:
        folder = Path(name)
        lessons = Lessons.of_last_days(read, recipe)
        pipeline, _ = fit_pipeline(
            items, lessons, read.train, recipe, folder, lambda path: launch.run(settings(), path, say=lambda _: None),
            key=f"shop-{seed}",
        )  # fmt: skip
        rankings = pipeline.rankings(asked.examples, asked.allowed, top=20) | simple(read, asked)
        about = json.loads((folder / "bundle" / files.RANKER_ABOUT).read_text())
        knob = _knob(pipeline, asked, items) if items.text is not None else []
    whole = rankings.pop("ranker")
    lengths = asked.examples.lengths
    return {
        "data": f"shop {size:g}", "seed": seed, "questions": len(asked.examples), "ranks": about["ranks"],
        "best_source": about["best_source"], "seconds": time.monotonic() - started, "knob": knob,
        "level": compare.mean_per_shopper(whole, asked.shopper),
        "levels": {name: compare.mean_per_shopper(other, asked.shopper) for name, other in rankings.items()},
        "differences": {
            name: compare.difference(whole, other, 17, asked.shopper) for name, other in rankings.items()
        },
        "short": float(metrics.headline(whole.ranks[lengths <= 2]).mean()),
        "long": float(metrics.headline(whole.ranks[lengths >= 10]).mean()),
    }  # fmt: skip


def _knob(pipeline: Pipeline, asked: Any, items: KnownItems) -> list[dict[str, float]]:
    """Measure NDCG@10 and the diversity of lists of ten by texts, at each knob, on the first thousand questions."""
    few = asked.examples.take(np.arange(min(1000, len(asked.examples))))
    found: dict[float, list[tuple[float, float]]] = {knob: [] for knob in KNOBS}
    for place, named in enumerate(pipeline.named(few, asked.allowed)):
        scores = pipeline.ranker.scores(named) if pipeline.ranker is not None else named.shares[:, 0]
        best = np.lexsort((named.index, -scores))[:100]
        vectors = items.text[named.index[best]] if items.text is not None else np.zeros((len(best), 1))
        for knob in KNOBS:
            chosen = choose_diverse(scores[best], vectors, 10, knob)
            where = np.flatnonzero(named.index[best][chosen] == few.targets[place] - 1)
            found[knob].append((1 / np.log2(2 + where[0]) if len(where) else 0.0, list_diversity(vectors[chosen])))
    means = {knob: np.nanmean(np.array(rows), axis=0).tolist() for knob, rows in found.items()}
    return [{"knob": knob, "ndcg_at_10": mean[0], "diversity": mean[1]} for knob, mean in means.items()]


def _done(name: str) -> Path:
    return STATE / f"{name}.json"


def table(rows: list[dict[str, Any]]) -> str:
    """Return the figures of generated shops as a Markdown table: means over seeds, and intervals over seeds."""
    columns = (
        "shops",
        "seeds",
        "whole",
        "best source",
        "neighbours",
        "gain over neighbours",
        "worst seed, best source",
    )
    lines = [f"| {' | '.join(columns)} |", f"|---|{'---:|' * (len(columns) - 1)}"]
    for data in sorted({row["data"] for row in rows}):
        own = [row for row in rows if row["data"] == data]
        level, near = (np.array([r["level"] for r in own]), np.array([r["levels"][NEIGHBOURS] for r in own]))
        best = np.array([r["levels"][r["best_source"]] for r in own])
        gain = level / near - 1
        half = 1.96 * gain.std(ddof=1) / len(gain) ** 0.5 if len(gain) > 1 else float("nan")
        worst = min(r["differences"][r["best_source"]]["interval"][0] / b for r, b in zip(own, best, strict=True))
        lines.append(
            f"| {data} | {len(own)} | {level.mean():.4f} | {best.mean():.4f} | {near.mean():.4f} "
            f"| {gain.mean():+.1%} ({gain.mean() - half:+.1%} to {gain.mean() + half:+.1%}) | {worst:+.1%} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.bench.ranking", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, help="generated shops of each size")
    parser.add_argument("--sizes", type=float, nargs="*", default=[1.0, 0.4], help="of the demo's shop")
    parser.add_argument("--recipe", default="quick")
    given = parser.parse_args()
    STATE.mkdir(exist_ok=True)
    for size in given.sizes:
        for seed in range(given.seeds):
            path = _done(f"shop-{size:g}-{seed}-{given.recipe}")
            if not path.exists():
                path.write_text(json.dumps(shop(seed, size, given.recipe)))
                print(path.stem, json.loads(path.read_text())["level"], flush=True)
    rows = [json.loads(path.read_text()) for path in sorted(STATE.glob("shop-*.json"))]
    RECORD.write_text(json.dumps(rows, indent=1) + "\n")
    print(table(rows))


if __name__ == "__main__":
    main()
