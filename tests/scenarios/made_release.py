"""A release that nobody trained: reports with made-up figures, published and gated, enough to be asked about."""

from __future__ import annotations

import json
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from artifacts.ledger import Ledger
from artifacts.object_store import ObjectStore
from artifacts.publish import publish
from caravan.stack.supervision import supervisor
from contracts import release as files
from contracts.release import IN_FLIGHT, State
from contracts.settings import Settings
from releases import registration
from tests.releases.own_ledger import let_serve, move_release
from training.gate import decide


def figures(base: float) -> dict[str, Any]:
    return {
        "ndcg_at_10": base, "ndcg_at_10_interval": [base - 0.01, base + 0.01], "recall_at_10": base * 2,
        "ndcg_at_10_per_shopper": base + 0.002, "ndcg_at_10_per_shopper_interval": [base - 0.006, base + 0.01],
        "mrr_at_10": base * 0.9, "coverage_at_10": 0.61, "novelty_at_10": 7.4, "queries": 4210.0,
    }  # fmt: skip


def evaluation(champion: str | None, /, **other: float) -> dict[str, Any]:
    """evaluation.json of a challenger that is a little better, and worse for some; `other` moves whole rankers."""
    levels = {"challenger": 0.213, "popularity": 0.081, "last_item_neighbours": 0.154}
    levels |= {"champion": 0.205} if champion else {}
    levels |= other
    slices = {
        name: {"questions": count, **{who: {"ndcg_at_10": level + shift * (who == "challenger")}
               for who, level in levels.items()}}
        for name, count, shift in (
            ("cold item", 212, -0.19), ("known shopper", 3100, 0.01), ("new shopper", 1110, -0.011),
        )
    }  # fmt: skip
    return {
        "held_out": ["2026-01-29", "2026-01-30", "2026-01-31"], "questions": 4210, "shoppers": 1388,
        "items_ranked": 1200, "train_interactions": 81233, "slices": slices | {"quiet shopper": {"questions": 7}},
        "rankers": {name: figures(level) for name, level in levels.items()},
        "differences": {
            name: {
                "mean": round(levels["challenger"] - level, 6), "standard_error": 0.0035,
                "interval": [levels["challenger"] - level - 0.007, levels["challenger"] - level + 0.007],
                "mean_per_question": levels["challenger"] - level - 0.0009,
            }
            for name, level in levels.items() if name != "challenger"
        },
        "anchor": {"asked": 3 if "anchor" in levels else 1, "release": "ee" * 32 if "anchor" in levels else None},
        "noise": {"training": 0.031, "nights": 4}, "champion": champion,
    }  # fmt: skip


def reports(champion: str | None, /, **other: float) -> dict[str, dict[str, Any]]:
    """evaluation.json, what the gate says to it, and lineage.json."""
    measured = evaluation(champion, **other)
    return {
        files.EVALUATION: measured,
        files.GATE: decide(measured, "ef" * 32).to_dict(),
        files.LINEAGE: {
            "commit": "0123456789abcdef", "day": "2026-01-31",
            "partitions": {"events": {"2026-01-01": "a", "2026-01-31": "b"}},
        },
    }  # fmt: skip


def make(
    s: Settings, source: str, *, day: str = "2026-01-31", author: str = "admin", policy: str = "demo",
    champion: str | None = None, recipe: str = "tiny",
) -> str:  # fmt: skip
    """Publish one and let it pass the gate; its digest."""
    store, made = ObjectStore.of(s), reports(champion)
    with tempfile.TemporaryDirectory() as folder:
        for name, report in made.items():
            (Path(folder) / name).write_text(json.dumps(report))
        meta = {"source": source, "day": day, "recipe": recipe, "champion": champion, "made_by": uuid.uuid4().hex}
        digest = publish(store, Path(folder), kind="release", meta=meta).digest
    let_serve(Ledger.of(s), source)
    registration.gated(
        Ledger.of(s), source, digest, version=1, evidence={}, decision=made[files.GATE], author=author,
        policy=policy,
    )  # fmt: skip
    return digest


def move(s: Settings, source: str, digest: str, *road: State, reason: str = "the test says so", **about: Any) -> None:
    """What the controller does, done by hand: along `road`, from wherever the release is."""
    ledger = Ledger.of(s)
    for state in road:
        present = ledger.state(source, digest)
        move_release(ledger, source, digest, to=state, expected=present, actor="controller", reason=reason, **about)


@contextmanager
def resting_controller(s: Settings) -> Iterator[None]:
    """The region's controller does not act meanwhile: it would turn back releases that no engine can serve.

    Afterwards no such release is left in progress or in front, and the champion from before is the newest again.
    """
    name = f"{s.region}-controller"
    process = f"{s.region}:{name}"
    runs = supervisor.processes(s).get(name, {}).get("statename") == "RUNNING"
    if runs:
        supervisor.call(s, "stopProcess", process)
    ledger = Ledger.of(s)
    before, known = ledger.newest("champion"), {place.digest for place in ledger.releases()}
    try:
        yield
    finally:
        for place in ledger.releases(among=(*IN_FLIGHT, "champion")):
            if place.digest not in known:
                move(s, place.source, place.digest, "rolled_back", reason="the test is over")
        if before is not None and ledger.newest("champion") != before:
            move(s, before.source, before.digest, "retired", "champion", reason="the test is over")
        if runs:
            supervisor.call(s, "startProcess", process)
