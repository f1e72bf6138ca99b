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
from caravan.stack import supervisor
from contracts import release as files
from contracts.release import IN_FLIGHT, State
from contracts.settings import Settings
from releases import record
from tests.fakes import GATE


def figures(base: float) -> dict[str, Any]:
    return {
        "ndcg_at_10": base, "ndcg_at_10_interval": [base - 0.01, base + 0.01], "recall_at_10": base * 2,
        "mrr_at_10": base * 0.9, "coverage_at_10": 0.61, "novelty_at_10": 7.4, "queries": 4210.0,
    }  # fmt: skip


def reports(champion: str | None) -> dict[str, dict[str, Any]]:
    """evaluation.json, gate.json and lineage.json of a challenger that is a little better, and worse for some."""
    rankers = {"challenger": figures(0.213), "popularity": figures(0.081), "last_item_neighbours": figures(0.154)}
    rankers |= {"champion": figures(0.205)} if champion else {}
    slices = {
        name: {"questions": count, **{who: {"ndcg_at_10": values["ndcg_at_10"] + shift * (who == "challenger")}
               for who, values in rankers.items()}}
        for name, count, shift in (
            ("cold item", 212, -0.19), ("known shopper", 3100, 0.01), ("new shopper", 1110, -0.011),
        )
    }  # fmt: skip
    return {
        files.EVALUATION: {
            "held_out": ["2026-01-29", "2026-01-30", "2026-01-31"], "questions": 4210, "shoppers": 1388,
            "items_ranked": 1200, "train_interactions": 81233, "rankers": rankers, "slices": slices,
            "differences": {"champion": {"mean": 0.008, "interval": [0.001, 0.015]}} if champion else {},
        },
        files.GATE: {
            "passed": True,
            "checks": [
                {"name": "numbers", "passed": True, "sentence": "All figures are numbers."},
                {"name": "enough data", "passed": True, "sentence": "The held-out days ask 4210 questions."},
            ],
        },
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
    store = ObjectStore.of(s)
    with tempfile.TemporaryDirectory() as folder:
        for name, report in reports(champion).items():
            (Path(folder) / name).write_text(json.dumps(report))
        meta = {"source": source, "day": day, "recipe": recipe, "champion": champion, "made_by": uuid.uuid4().hex}
        digest = publish(store, Path(folder), kind="release", meta=meta).digest
    record.gated(Ledger.of(s), source, digest, version=1, evidence={}, decision=GATE, author=author, policy=policy)
    return digest


def move(s: Settings, source: str, digest: str, *road: State, reason: str = "the test says so", **about: Any) -> None:
    """What the controller does, done by hand: along `road`, from wherever the release is."""
    ledger = Ledger.of(s)
    for state in road:
        present = ledger.state(source, digest)
        ledger.move(source, digest, to=state, expected=present, actor="controller", reason=reason, **about)


@contextmanager
def resting_controller(s: Settings) -> Iterator[None]:
    """The region's controller does not act meanwhile: it would turn back releases that no engine can serve.

    Afterwards no such release is left on its way or in front, and the champion from before is the newest again.
    """
    name = f"{s.region}-controller"
    process = f"{s.region}:{name}"
    runs = supervisor.processes(s).get(name, {}).get("statename") == "RUNNING"
    if runs:
        supervisor.call(s, "stopProcess", process)
    ledger = Ledger.of(s)
    before, known = ledger.newest("champion"), {place.digest for place in ledger.places()}
    try:
        yield
    finally:
        for place in ledger.places(among=(*IN_FLIGHT, "champion")):
            if place.digest not in known:
                move(s, place.source, place.digest, "rolled_back", reason="the test is over")
        if before is not None and ledger.newest("champion") != before:
            move(s, before.source, before.digest, "retired", "champion", reason="the test is over")
        if runs:
            supervisor.call(s, "startProcess", process)
