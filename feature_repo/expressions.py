"""Computes feature tables from clean events, as Ibis expressions that DuckDB and Spark run alike.

Every table is a snapshot: all that is known at the end of the day, about every shopper or item of the window,
so the newest partition alone is enough to serve from. Sums are sums of integers, divided once at the end, so that
no engine's order of addition shows in the bytes.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import reduce
from operator import add
from typing import Any

import ibis  # noqa: TID253 - this module is imported only where tables are built

from contracts.events import INTERACTIONS
from feature_repo.item_text import PARTS, SEPARATOR, TextPart
from feature_repo.purchases import MAX_ITEMS
from feature_repo.schemas import SCHEMAS
from feature_repo.sequences import MAX_LENGTH, TIE_SEPARATOR

#: Days of events a table may look back on. A shopper without any event in them is left out. Only what was bought has no
#: such limit.
WINDOW_DAYS = 365
#: Opening a product, from a list (click) or not (view).
VIEWS = ("view", "click")
#: How much more a cart or a purchase says than a view.
KIND_WEIGHT = {"view": 1, "click": 1, "add_to_cart": 3, "purchase": 5}
CATEGORIES = 5
#: Views that the shop's average rate counts for in an item's smoothed rates.
PRIOR_VIEWS = 20

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_US = 86_400_000_000
_HOUR_US = 3_600_000_000


def end_of(day: str) -> datetime:
    """Return the instant from which the features of `day` are known: 00:00 UTC of the next day."""
    return datetime.fromisoformat(day).replace(tzinfo=UTC) + timedelta(days=1)


def window(events: Any, day: str, days: int | None = WINDOW_DAYS) -> Any:
    """Select the events of the last `days` with `us` (microseconds since 1970) and `age` (whole days back from `day`).

    Without `days`, all of them up to the end of `day`.
    """
    end = (end_of(day) - _EPOCH) // timedelta(microseconds=1)
    timed = events.select(
        "user_id",
        "kind",
        "item_id",
        # not .microsecond(): DuckDB's includes the seconds and Spark has none
        us=events.event_time.delta(ibis.literal(_EPOCH), unit="microsecond").cast("int64"),
    )
    timed = timed.filter(timed.us < end)
    if days is not None:
        timed = timed.filter(timed.us >= end - days * _DAY_US)
    return timed.mutate(age=((end - 1 - timed.us) // _DAY_US).cast("int64"))


def shopper_activity(events: Any, day: str) -> Any:
    end = (end_of(day) - _EPOCH) // timedelta(microseconds=1)

    def count(kinds: tuple[str, ...], days: int) -> Any:
        return (events.kind.isin(kinds) & (events.age < days)).sum()

    table = events.group_by("user_id").agg(
        views_1d=count(VIEWS, 1),
        views_7d=count(VIEWS, 7),
        views_30d=count(VIEWS, 30),
        carts_7d=count(("add_to_cart",), 7),
        carts_30d=count(("add_to_cart",), 30),
        purchases_7d=count(("purchase",), 7),
        purchases_30d=count(("purchase",), 30),
        searches_7d=count(("search",), 7),
        active_days_30d=events.age.nunique(where=events.age < 30),
        last=events.us.max(),
    )
    return _finish("shopper_activity", table.mutate(hours_since_last=(end - table.last) / _HOUR_US), day)


def shopper_sequence(events: Any, day: str) -> Any:
    """Collect the newest actions of each shopper; the order and the cut are those of feature_repo.sequences."""
    actions = _interactions(events).select("user_id", "us", "item_id", "kind").distinct()
    actions = actions.mutate(tie=_tie_break(actions))
    newest = ibis.window(group_by="user_id", order_by=[actions.us.desc(), actions.tie.desc()])
    actions = actions.mutate(rank=ibis.row_number().over(newest)).filter(lambda t: t.rank < MAX_LENGTH)
    table = actions.group_by("user_id").agg(
        rows=_sorted_rows(us=actions.us, tie=actions.tie, item_id=actions.item_id, kind=actions.kind),
    )
    table = table.mutate(
        items=table.rows.map(lambda row: row.item_id),
        kinds=table.rows.map(lambda row: row.kind),
        times=table.rows.map(lambda row: row.us),
    )
    return _finish("shopper_sequence", table, day)


def shopper_purchases(events: Any, day: str) -> Any:
    """Collect what each shopper ever bought; the order and the cut are those of feature_repo.purchases."""
    bought = _interactions(events).filter(lambda t: t.kind == "purchase")
    bought = bought.group_by("user_id", "item_id").agg(us=bought.us.max())
    newest = ibis.window(group_by="user_id", order_by=[bought.us.desc(), bought.item_id.desc()])
    bought = bought.mutate(rank=ibis.row_number().over(newest)).filter(lambda t: t.rank < MAX_ITEMS)
    table = bought.group_by("user_id").agg(rows=_sorted_rows(us=bought.us, item_id=bought.item_id))
    table = table.mutate(
        purchased=table.rows.map(lambda row: row.item_id), purchased_at=table.rows.map(lambda row: row.us)
    )
    return _finish("shopper_purchases", table, day)


def shopper_affinity(events: Any, catalog: Any, day: str) -> Any:
    """Rank each shopper's categories, with their shares of the shopper's whole weight; recent actions count more."""
    acted = _interactions(events)
    known = catalog.filter(catalog.category.notnull() & (catalog.category != "")).select("item_id", "category")
    acted = acted.join(known, "item_id")
    recency = ibis.cases((acted.age < 7, 4), (acted.age < 28, 2), else_=1)
    per_category = acted.group_by("user_id", "category").agg(weight=(_kind_weight(acted.kind) * recency).sum())
    ranked = per_category.mutate(
        total=per_category.weight.sum().over(group_by="user_id"),
        rank=ibis.row_number().over(
            ibis.window(group_by="user_id", order_by=[per_category.weight.desc(), per_category.category])
        ),
    ).filter(lambda t: t.rank < CATEGORIES)
    ranked = ranked.mutate(share=(ranked.weight.cast("float64") / ranked.total).cast("float32"))
    table = ranked.group_by("user_id").agg(
        rows=_sorted_rows(rank=ranked["rank"], category=ranked.category, share=ranked.share)
    )
    table = table.mutate(
        categories=table.rows.map(lambda row: row.category), weights=table.rows.map(lambda row: row.share)
    )
    return _finish("shopper_affinity", table, day)


def item_popularity(events: Any, catalog: Any, day: str) -> Any:
    """Count actions per window; add rates smoothed towards the shop's own, and a score.

    The score is the weighted number of actions per day, averaged over the three windows.
    """
    acted = _interactions(events).filter(lambda t: t.age < 28)

    def count(kinds: tuple[str, ...], days: int) -> Any:
        return (acted.kind.isin(kinds) & (acted.age < days)).sum()

    counts = {
        f"{name}_{days}d": count(kinds, days)
        for name, kinds in (("views", VIEWS), ("carts", ("add_to_cart",)), ("purchases", ("purchase",)))
        for days in (1, 7, 28)
    }
    per_item = acted.group_by("item_id").agg(**counts)
    shop = acted.agg(
        shop_views=count(VIEWS, 28), shop_carts=count(("add_to_cart",), 28), shop_purchases=count(("purchase",), 28)
    )
    items = catalog.select("item_id").union(acted.select("item_id"), distinct=True)
    table = items.left_join(per_item, "item_id").drop("item_id_right").cross_join(shop)
    zero = dict.fromkeys([*counts, "shop_views", "shop_carts", "shop_purchases"], 0)
    table = table.fill_null(zero)

    def rate(done: Any, shop_done: Any) -> Any:
        # cast, or Spark computes in decimals of six digits
        prior = shop_done.cast("float64") / ibis.greatest(table.shop_views, 1)
        prior = ibis.ifelse(table.shop_views > 0, prior, ibis.literal(0).cast("float64"))
        smoothed = (done.cast("float64") + PRIOR_VIEWS * prior) / (table.views_28d + PRIOR_VIEWS)
        return ibis.least(smoothed, ibis.literal(1).cast("float64"))

    def weighted(days: int) -> Any:
        return (
            table[f"views_{days}d"] * KIND_WEIGHT["view"]
            + table[f"carts_{days}d"] * KIND_WEIGHT["add_to_cart"]
            + table[f"purchases_{days}d"] * KIND_WEIGHT["purchase"]
        )

    # 28 x the sum of daily rates is an integer: one division, no rounding to disagree about
    score = (28 * weighted(1) + 4 * weighted(7) + weighted(28)).cast("float64") / (28 * 3)
    table = table.mutate(
        cart_rate_28d=rate(table.carts_28d, table.shop_carts),
        purchase_rate_28d=rate(table.purchases_28d, table.shop_purchases),
        score=score,
    )
    return _finish("item_popularity", table, day)


def item_texts(catalog: Any) -> Any:
    """Compute the text of each item by the rule of feature_repo.item_text, and its hash."""

    def said(part: TextPart) -> Any:
        column = catalog[part.column]
        if part.replaced is not None:
            column = column.replace(*part.replaced)
        if part.longest is not None:
            column = column.substr(0, part.longest)
        return ibis.ifelse(column.notnull() & (column != ""), ibis.literal(SEPARATOR) + column, "")

    joined = reduce(add, map(said, PARTS)).substr(len(SEPARATOR))  # without the separator before the first part
    table = catalog.select("item_id", text=joined)
    return table.mutate(text_hash=table.text.hexdigest("sha256")).order_by("item_id")


def _interactions(events: Any) -> Any:
    return events.filter(events.kind.isin(INTERACTIONS), events.item_id.notnull(), events.item_id != "")


def _tie_break(actions: Any) -> Any:
    """Compute feature_repo.sequences.tie_break."""
    parts = (actions.user_id, actions.us.cast("string"), actions.item_id, actions.kind)
    return reduce(lambda said, part: said + TIE_SEPARATOR + part, parts).hexdigest("sha256")


def _sorted_rows(**columns: Any) -> Any:
    """Collect the group's rows as one sorted array of structs, since Spark has no ordered aggregation."""
    return ibis.struct(columns).collect().sort()


def _kind_weight(kind: Any) -> Any:
    return ibis.cases(*((kind == name, weight) for name, weight in KIND_WEIGHT.items()), else_=0)


def _finish(name: str, table: Any, day: str) -> Any:
    at = ibis.literal(end_of(day))
    columns = SCHEMAS[name].names
    return table.mutate(event_timestamp=at, created=at).select(*columns).order_by(columns[0])
