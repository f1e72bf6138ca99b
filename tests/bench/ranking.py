"""Whether what is served is never worse than the best of its parts: `python -m tests.bench.ranking`, resumable.

Generated shops of many seeds in two sizes, each with a date of its own, cut by time as every night is; folders of real
data in the contract, cut at several days; shops of pure noise, of which no model may be served. What is done is kept in
`.caravan-ranking/`; all of it together is written to tests/bench/ranking.json.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from artifacts.lake import write_table
from contracts import release as files
from contracts.settings import settings
from tests.bench import ranking_table
from tests.bench.night_shops import Shop, questions, simple
from tests.bench.ranking_data import noise_night, real_night
from tests.bench.ranking_figures import deletions, diversity_by_knob, levels, pages
from training import recipes
from training.data.inputs import Inputs
from training.evaluation import compare
from training.evaluation.evaluate import measure
from training.fitting import launch
from training.fitting.first_stage import KnownItems, Lessons, fit_pipeline
from training.gate import decide
from training.ranker.pipeline import Pipeline
from training.recipes import Recipe

ROOT = Path(__file__).resolve().parent.parent.parent
STATE, RECORD = ROOT / ".caravan-ranking", Path(__file__).with_name("ranking.json")


def fit(read: Inputs, recipe: Recipe, folder: Path, name: str) -> tuple[Pipeline, Path]:
    """Train a night below `folder`, and return what ranks, with the directory that a release is made of."""
    pipeline, _ = fit_pipeline(
        KnownItems.of(read), Lessons.of_last_days(read, recipe), read.train, recipe, folder,
        lambda path: launch.run(settings(), path, say=lambda _: None), key=name,
    )  # fmt: skip
    bundle = folder / "bundle"
    pipeline.data.save(bundle / files.SOURCES)
    write_table(read.items, bundle / files.ITEMS)
    return pipeline, bundle


def night(read: Inputs, recipe_name: str, *, data: str, seed: int) -> dict[str, Any]:
    """Train and ask one night: the whole, every source alone, the floors, by length of history; knob and causes."""
    started, recipe = time.monotonic(), recipes.get(recipe_name)
    asked, items = questions(read), KnownItems.of(read)
    with tempfile.TemporaryDirectory(prefix="caravan-ranking-") as name:
        pipeline, bundle = fit(read, recipe, Path(name), f"{data}-{seed}")
        rankings = pipeline.rankings(asked.examples, asked.allowed, top=20) | simple(read, asked)
        about = json.loads((bundle / files.RANKER_ABOUT).read_text())
        knob = diversity_by_knob(pipeline, asked, items.text) if items.text is not None else []
        on_pages = pages(pipeline, asked)
        removed = deletions(pipeline, bundle, asked, recipe.max_length)
    whole = rankings.pop("ranker")
    lengths = asked.examples.lengths
    return {
        "data": data, "seed": seed, "questions": len(asked.examples), "ranks": about["ranks"],
        "best_source": about["best_source"], "seconds": time.monotonic() - started, "knob": knob,
        "deletions": removed, "pages": on_pages,
        "level": compare.mean_per_shopper(whole, asked.shopper),
        "levels": {name: compare.mean_per_shopper(other, asked.shopper) for name, other in rankings.items()},
        "differences": {
            name: compare.difference(whole, other, 17, asked.shopper) for name, other in rankings.items()
        },
        "short": levels({"ranker": whole, **rankings}, lengths <= 2),
        "long": levels({"ranker": whole, **rankings}, lengths >= 10),
    }  # fmt: skip


def noise(seed: int, recipe_name: str) -> dict[str, Any]:
    """Train on a shop in which nothing can be learned, and ask the gate."""
    started, recipe = time.monotonic(), recipes.get(recipe_name)
    read = noise_night(seed, recipe)
    with tempfile.TemporaryDirectory(prefix="caravan-ranking-") as name:
        _, bundle = fit(read, recipe, Path(name), f"noise-{seed}")
        report = measure(read, recipe, bundle, None)
    report["noise"] = {"training": recipe.training_noise, "nights": 0}
    decision = decide(report)
    return {
        "data": "noise", "seed": seed, "recipe": recipe_name, "passed": decision.passed, "reasons": decision.reasons,
        "level": report["rankers"]["challenger"][files.PER_SHOPPER],
        "popularity": report["rankers"]["popularity"][files.PER_SHOPPER],
        "seconds": time.monotonic() - started,
    }  # fmt: skip


def once(name: str, make: Any) -> None:
    """Do what is not done yet, and keep it."""
    path = STATE / f"{name}.json"
    if not path.exists():
        made = make()
        path.write_text(json.dumps(made))
        told = {key: made[key] for key in ("level", "passed", "seconds") if key in made}
        print(name, ", ".join(f"{key} {value:.4g}" for key, value in told.items()), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.bench.ranking", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, help="generated shops of each size")
    parser.add_argument("--sizes", type=float, nargs="*", default=[1.0, 0.4], help="of the demo's shop")
    parser.add_argument("--noise", type=int, default=0, help="shops of pure noise")
    parser.add_argument("--data", type=Path, nargs="*", default=[], help="folders with events.parquet, catalog.parquet")
    parser.add_argument("--cuts", type=int, default=5, help="days at which each of them is cut")
    parser.add_argument("--recipe", default="quick")
    given = parser.parse_args()
    STATE.mkdir(exist_ok=True)
    for size in given.sizes:
        for seed in range(given.seeds):
            once(
                f"shop-{size:g}-{seed}-{given.recipe}",
                lambda: night(
                    Shop(seed, 1, size=size).night(0), given.recipe, data=f"shop {size:g}", seed=seed  # noqa: B023
                ),
            )  # fmt: skip
    for folder in given.data:
        for cut in range(given.cuts):
            once(
                f"data-{folder.name}-{cut}-{given.recipe}",
                lambda: night(
                    real_night(folder, cut, given.cuts, recipes.get(given.recipe)),  # noqa: B023
                    given.recipe, data=folder.name, seed=cut,  # noqa: B023
                ),
            )  # fmt: skip
    for seed in range(given.noise):
        once(f"noise-{seed}-{given.recipe}", lambda: noise(seed, given.recipe))  # noqa: B023
    rows = [json.loads(path.read_text()) for path in sorted(STATE.glob("*.json"))]
    RECORD.write_text(json.dumps(rows, indent=1) + "\n")
    print(ranking_table.table(rows))


if __name__ == "__main__":
    main()
