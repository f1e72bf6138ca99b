"""Ends the demo: one shopper's history beside what the shop shows them, and one search."""

from __future__ import annotations

import time
from collections import Counter
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from contracts.errors import CaravanError, DataError

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa

    from contracts.settings import Settings
    from ingestion.sources.shop import MadeShop

#: How many interactions of the shopper's history are shown, and how many recommendations.
SHOWN = 8
#: What each source that names an action or a category means by it.
_WORDS = {
    "sequence": "goes with {action}", "follows": "often next after {action}", "neighbours": "often with {action}",
    "content": "reads like {action}", "affinity": "popular in {category}", "here": "popular in {category}",
}  # fmt: skip
#: Longest wait until the edge answers with the champion, in seconds.
CHAMPION_ANSWER_TIMEOUT_S = 60.0


def show(console: Any, s: Settings, made: MadeShop, champion: str) -> None:
    """Print one shopper's history beside their recommendations, and one search of that shop."""
    import pyarrow.parquet as pq
    from rich.table import Table

    from ingestion.landing.table_reader import read_catalog
    from serving import reach

    titles = {str(r["item_id"]): str(r["title"]) for r in read_catalog([made.catalog]).to_pylist()}
    shopper, history, query = choose(pq.read_table(made.events[-1]))
    with reach.as_shop(s, timeout=10) as edge:
        answer = answer_of(lambda: edge.post("/recommend", json={"user_id": shopper, "k": SHOWN}), champion)
        found = answer_of(lambda: edge.get("/search", params={"q": query, "k": SHOWN}), champion)
    belongs([*answer["items"], *found["items"]], titles)
    columns = (f"{shopper} looked at", "is shown", "score", "because")
    table = Table(*columns, title="Recommendations", title_justify="left")
    seen = [titles[item] for item in history[:SHOWN]]
    shown = [(str(i["title"]), f"{i['score']:.2f}", because(i, titles)) for i in answer["items"][:SHOWN]]
    for looked_at, row in zip_longest(seen, shown):
        table.add_row(looked_at or "", *(row or ("", "", "")))
    console.print(table)
    table = Table("found", "score", title=f'Search "{query}"', title_justify="left")
    for item in found["items"]:
        table.add_row(str(item["title"]), f"{item['score']:.2f}")
    console.print(table)
    fallback = f", fallback: {answer.get('fallback_reason')}" if answer["fallback"] else ""
    timings = ", ".join(f"{stage} {ms:.1f}" for stage, ms in answer["timings_ms"].items())
    stale = ", from features past their age limit" if answer.get("stale") else ""
    console.print(f"release {answer['release'][:12]}{fallback}{stale}; milliseconds: {timings}", soft_wrap=True)


def because(item: dict[str, Any], titles: dict[str, str]) -> str:
    """Say in words what carried an item into the answer; nothing of a release without a ranker."""
    why = item.get("because")
    if why is None:
        return ""
    action = titles.get(str(why.get("item_id")), "")
    if why["source"] == "repeat" or why.get("item_id") == item["item_id"]:
        return "looked at before"
    words = _WORDS.get(why["source"], "popular")
    return words.format(action=action, category=why.get("category") or "this category")


def answer_of(ask: Callable[[], Any], champion: str, *, patience: float | None = None) -> dict[str, Any]:
    """Return the champion's answer; the edge may take a moment to lead everybody to a new one."""
    deadline = time.monotonic() + (CHAMPION_ANSWER_TIMEOUT_S if patience is None else patience)
    while True:
        answer = ask()
        if answer.status_code == 200 and answer.json()["release"] == champion:
            return dict(answer.json())
        if time.monotonic() > deadline:
            body = _get(answer)
            raise CaravanError(
                f"the edge answers with release {str(body['release'])[:12]}, the champion is {champion[:12]}",
                remedy="see `caravan status` and `caravan logs controller`",
            )
        time.sleep(0.5)


def belongs(items: list[dict[str, Any]], titles: dict[str, str]) -> None:
    """Raise DataError when an item, or its title, is not of the shop whose histories are shown."""
    for item in items:
        if titles.get(str(item["item_id"])) != str(item["title"]):
            raise DataError(
                f"{item['item_id']} is shown as {str(item['title'])!r}, which is no item of this shop",
                remedy="another shop has landed here: set CARAVAN_HOME to a folder of its own",
            )


def choose(day: pa.Table) -> tuple[str, list[str], str]:
    """Choose a shopper with a good history on this day, that history (newest first), and the most frequent search."""
    from contracts.events import INTERACTIONS

    rows = sorted(
        day.select(["event_time", "user_id", "kind", "item_id", "query"]).to_pylist(), key=_time, reverse=True
    )
    actions = [r for r in rows if r["kind"] in INTERACTIONS and r["item_id"]]
    searches = Counter(str(r["query"]) for r in rows if r["query"])
    if not actions or not searches:
        raise DataError("the shop's last day has no actions", remedy="generate a larger shop: --shoppers 1500")
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
