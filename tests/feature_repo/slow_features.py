"""The feature tables computed row by row in plain Python: slow, and plain enough to check by eye."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any

from contracts.events import INTERACTIONS
from feature_repo.sequences import Action, recent

Row = dict[str, Any]
WEIGHT = {"view": 1, "click": 1, "add_to_cart": 3, "purchase": 5}
OPENED = ("view", "click")


def microseconds(at: datetime) -> int:
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


class Day:
    """All tables of one day; `events` may reach beyond the window, which is applied here to all except purchases."""

    def __init__(self, day: str, events: list[Row], catalog: list[Row]) -> None:
        self.end = datetime.fromisoformat(day).replace(tzinfo=UTC) + timedelta(days=1)
        self.events = [e for e in events if self.end - timedelta(days=365) <= e["event_time"] < self.end]
        self.ever = [e for e in events if e["event_time"] < self.end]
        self.category = {c["item_id"]: c["category"] for c in catalog if c["category"]}
        self.items = {c["item_id"] for c in catalog}

    def _within(self, e: Row, days: int) -> bool:
        return bool(e["event_time"] >= self.end - timedelta(days=days))

    def _per(self, key: str, events: list[Row]) -> dict[str, list[Row]]:
        groups = defaultdict(list)
        for e in events:
            groups[e[key]].append(e)
        return dict(sorted(groups.items()))

    def activity(self) -> list[Row]:
        rows = []
        for user, mine in self._per("user_id", self.events).items():
            row: Row = {"user_id": user}
            for name, kinds, windows in (
                ("views", OPENED, (1, 7, 30)),
                ("carts", ("add_to_cart",), (7, 30)),
                ("purchases", ("purchase",), (7, 30)),
                ("searches", ("search",), (7,)),
            ):
                for days in windows:
                    row[f"{name}_{days}d"] = sum(e["kind"] in kinds and self._within(e, days) for e in mine)
            row["active_days_30d"] = len({e["event_time"].date() for e in mine if self._within(e, 30)})
            row["hours_since_last"] = (
                microseconds(self.end) - max(microseconds(e["event_time"]) for e in mine)
            ) / 3.6e9
            rows.append(row)
        return rows

    def _acted(self) -> list[Row]:
        return [e for e in self.events if e["kind"] in INTERACTIONS and e["item_id"]]

    def sequence(self) -> list[Row]:
        rows = []
        for user, mine in self._per("user_id", self._acted()).items():
            history = recent(user, (Action(microseconds(e["event_time"]), e["item_id"], e["kind"]) for e in mine))
            rows.append({"user_id": user, **history._asdict()})
        return rows

    def purchases(self) -> list[Row]:
        rows = []
        for user, mine in self._per("user_id", self.ever).items():
            times: dict[str, int] = defaultdict(int)
            for e in mine:
                if e["kind"] == "purchase" and e["item_id"]:
                    times[e["item_id"]] = max(times[e["item_id"]], microseconds(e["event_time"]))
            kept = sorted((us, item) for item, us in times.items())[-2000:]
            if kept:
                rows.append(
                    {"user_id": user, "purchased": [i for _, i in kept], "purchased_at": [us for us, _ in kept]}
                )
        return rows

    def affinity(self) -> list[Row]:
        rows = []
        for user, mine in self._per("user_id", [e for e in self._acted() if e["item_id"] in self.category]).items():
            weights: dict[str, int] = defaultdict(int)
            for e in mine:
                recency = 4 if self._within(e, 7) else 2 if self._within(e, 28) else 1
                weights[self.category[e["item_id"]]] += WEIGHT[e["kind"]] * recency
            best = sorted(weights.items(), key=lambda pair: (-pair[1], pair[0]))[:5]
            total = sum(weights.values())
            rows.append({"user_id": user, "categories": [c for c, _ in best], "weights": [w / total for _, w in best]})
        return rows

    def popularity(self) -> list[Row]:
        acted = [
            e for e in self.events if e["kind"] in INTERACTIONS and e["item_id"] is not None and self._within(e, 28)
        ]
        groups = self._per("item_id", acted)
        kinds = {"views": OPENED, "carts": ("add_to_cart",), "purchases": ("purchase",)}
        shop = {name: sum(e["kind"] in of for e in acted) for name, of in kinds.items()}
        rows = []
        for item in sorted(self.items | set(groups)):
            row: Row = {"item_id": item}
            for name, of in kinds.items():
                for days in (1, 7, 28):
                    row[f"{name}_{days}d"] = sum(
                        e["kind"] in of and self._within(e, days) for e in groups.get(item, [])
                    )
            for name, done in (("cart_rate_28d", "carts"), ("purchase_rate_28d", "purchases")):
                prior = shop[done] / shop["views"] if shop["views"] else 0.0
                row[name] = min(1.0, (row[f"{done}_28d"] + 20 * prior) / (row["views_28d"] + 20))
            daily = [(row[f"views_{d}d"] + 3 * row[f"carts_{d}d"] + 5 * row[f"purchases_{d}d"]) / d for d in (1, 7, 28)]
            row["score"] = sum(daily) / 3
            rows.append(row)
        return rows
