"""`caravan demo`: two nights of a generated shop, a release on its way to all shoppers, and what they see."""

from __future__ import annotations

import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from contracts.errors import CaravanError
from contracts.release import State
from contracts.settings import API_PAGE, Settings, settings

if TYPE_CHECKING:
    import pyarrow as pa

#: How many interactions of the shopper's history are shown, and how many recommendations.
SHOWN = 8
#: Longest wait for the schedule's own first run, in seconds.
SCHEDULE_PATIENCE = 120.0


def demo(
    shoppers: Annotated[int, typer.Option(min=50, help="Shoppers of the generated shop on its first day.")] = 1_500,
    items: Annotated[int, typer.Option(min=50, help="Items of the generated shop on its first day.")] = 800,
    days: Annotated[int, typer.Option(min=5, max=365, help="Days of events.")] = 14,
    seed: Annotated[int, typer.Option(help="The same seed gives the same shop.")] = 7,
) -> None:
    """Two nights of a generated shop through Airflow; the second one's release is approved, canaried and judged."""
    from rich.console import Console

    from caravan.cli import chain, demo_release, release, stack
    from ingestion.land import land
    from ingestion.pseudonymize import Pseudonymizer
    from ingestion.sources.shop import generate
    from ingestion.sources.shop_world import ShopPlan

    console, began = Console(), time.monotonic()

    def heading(text: str) -> None:
        console.rule(f"[bold]{text}[/]  [dim]{time.monotonic() - began:.0f} s[/]", align="left")

    heading("1 of 5  start the stack")
    stack.up(region=None, control=True)
    settings.cache_clear()  # the secrets exist now
    s = settings()

    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    before = yesterday - timedelta(days=1)
    heading(f"2 of 5  a shop of {shoppers:,} shoppers and {items:,} items, {days} days up to {yesterday}")
    from artifacts.lake import Lake

    plan = ShopPlan(days=days, shoppers=shoppers, items=items, seed=seed, end=yesterday)
    made = generate(plan, s.home / "demo" / f"{yesterday}-{shoppers}-{items}-{days}-{seed}", progress=console.print)
    _let_the_schedule_pass(s)
    key = Pseudonymizer(s.secret("pseudonym_key"))
    landed = land(Lake.of(s, s.shop), made.events, made.catalog, made.judgments, pseudonymizer=key, replace=True)
    console.print(f"{landed.read:,} rows read, {landed.kept:,} kept, {sum(landed.quarantined.values()):,} quarantined")

    heading(f"3 of 5  the nightly chain for {before}, in Airflow: the first release serves at once")
    night = partial(chain.nightly, source=s.shop, recipe="quick", rollout="demo", wait=True)
    night(day=before.isoformat())

    heading(f"4 of 5  the nightly chain for {yesterday}: its release is asked about, and meets shoppers step by step")
    night(day=yesterday.isoformat())
    digest = _waiting(s)
    if digest is not None:
        demo_release.release(console, s, digest, made.events[-7:])

    heading("5 of 5  what a shopper sees, and what the ledger says")
    _show_answers(console, s, made.events, made.catalog)
    console.print()
    release.history(source=s.shop)
    _show_addresses(console, s)
    console.print(f"\ndone in {(time.monotonic() - began) / 60:.1f} minutes; stop with `caravan down`")


def _let_the_schedule_pass(s: Settings) -> None:
    """Wait for the run that the schedule starts by itself in a new Airflow; it finds no data yet and skips.

    Were the shop there already, that run would train the long recipe, and ours would queue behind it.
    """
    from caravan.cli.airflow_api import ENDED, Airflow

    airflow, deadline = Airflow.of(s), time.monotonic() + SCHEDULE_PATIENCE
    airflow.ensure_ready("nightly")
    newest = {"run_type": "scheduled", "order_by": "-run_after", "limit": 1}
    while time.monotonic() < deadline:
        runs = airflow.call("GET", "/dags/nightly/dagRuns", params=newest)["dag_runs"]
        if runs and runs[0]["state"] in ENDED:
            return
        time.sleep(1)


def _waiting(s: Settings) -> str | None:
    """The release that people are asked about; None when the same demo was run before and it has gone on."""
    from artifacts.ledger import Ledger

    gated: tuple[State, ...] = ("gated",)
    return next((place.digest for place in Ledger.of(s).places(s.shop, among=gated)), None)


def _show_answers(console: Any, s: Settings, events: list[Path], catalog: Path) -> None:
    """One shopper's history beside their recommendations, and one search of that shop."""
    import httpx
    import pyarrow.parquet as pq
    from rich.table import Table

    from ingestion.read import read_catalog

    titles = {str(r["item_id"]): str(r["title"]) for r in read_catalog([catalog]).to_pylist()}
    shopper, history, query = choose(pq.read_table(events[-1]))
    with httpx.Client(base_url=s.edge_address, timeout=10) as edge:
        answer = _get(edge.post("/recommend", json={"user_id": shopper, "k": SHOWN}))
        found = _get(edge.get("/search", params={"q": query, "k": SHOWN}))
    table = Table(f"{shopper} looked at", "is shown", "score", title="Recommendations", title_justify="left")
    for position in range(SHOWN):
        seen = titles.get(history[position], history[position]) if position < len(history) else ""
        item = answer["items"][position] if position < len(answer["items"]) else {"title": "", "score": ""}
        score = f"{item['score']:.2f}" if item["score"] != "" else ""
        table.add_row(seen, str(item["title"]), score)
    console.print(table)
    table = Table("found", "score", title=f'Search "{query}"', title_justify="left")
    for item in found["items"]:
        table.add_row(str(item["title"]), f"{item['score']:.2f}")
    console.print(table)
    fallback = f", fallback: {answer.get('fallback_reason')}" if answer["fallback"] else ""
    timings = ", ".join(f"{stage} {ms:.1f}" for stage, ms in answer["timings_ms"].items())
    console.print(f"release {answer['release'][:12]}{fallback}; milliseconds: {timings}")


def choose(day: pa.Table) -> tuple[str, list[str], str]:
    """A shopper with a good history on this day, that history (newest first), and what most shoppers searched for."""
    from contracts.events import INTERACTIONS

    rows = sorted(
        day.select(["event_time", "user_id", "kind", "item_id", "query"]).to_pylist(), key=_time, reverse=True
    )
    actions = [r for r in rows if r["kind"] in INTERACTIONS and r["item_id"]]
    searches = Counter(str(r["query"]) for r in rows if r["query"])
    if not actions or not searches:
        raise CaravanError("the shop's last day has no actions", remedy="generate a larger shop: --shoppers 1500")
    distinct: dict[str, list[str]] = {}
    for row in actions:
        seen = distinct.setdefault(str(row["user_id"]), [])
        if row["item_id"] not in seen:
            seen.append(str(row["item_id"]))
    shopper = max(sorted(distinct), key=lambda user: min(len(distinct[user]), SHOWN))
    return shopper, distinct[shopper], searches.most_common(1)[0][0]


def _time(row: dict[str, Any]) -> Any:
    return row["event_time"]


def _get(answer: Any) -> dict[str, Any]:
    if answer.status_code != 200:
        raise CaravanError(
            f"{answer.request.url.path} answered {answer.status_code}: {answer.text[:300]}",
            remedy="see `caravan status` and `caravan logs engine`",
        )
    return dict(answer.json())


def addresses(s: Settings) -> list[tuple[str, str]]:
    """Pages to open after a demo: what each is, and where."""
    from artifacts.registry import mlflow_page

    return [
        ("Airflow", f"{s.airflow_address}/dags/nightly"),
        ("MLflow", mlflow_page(s, "experiments")),
        ("The shop's API", f"{s.airflow_address}/plugin/{API_PAGE}"),
    ]


def _show_addresses(console: Any, s: Settings) -> None:
    """Plain lines, never cut: they are there to be copied."""
    secrets = s.home / "secrets"
    doors = {
        "Airflow": f"user admin, password in {secrets / 'airflow_admin_password'}",
        "MLflow": f"user {s.mlflow_username}, password in {secrets / 'caravan_mlflow_password'}",
        "The shop's API": f"the same user; it answers at {s.edge_address}",
    }
    for name, address in addresses(s):
        console.print(f"{name:<15} {address}", soft_wrap=True, highlight=False)
        console.print(f"{'':<15} {doors[name]}", soft_wrap=True, highlight=False)
