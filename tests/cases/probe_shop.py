"""A small shop, with odd item ids among its own: catalog, shoppers' days, and what cases plant in them."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from pathlib import Path
from typing import Any

from tests.cases.case import Given

#: Identifiers that the contract allows and some programs do not; `{run}` keeps two runs apart.
ODD_IDS = ("KB/12-ELL", "20% OFF#3", "c d", "..", "Ärmel-4", "🦊-2", "012", "12", "36893488147419103232", "<i>y</i>")
ITEMS, SHOPPERS, DAYS = 70, 160, 6
_WOODS = ("Cherry", "Copper", "Green", "Teak", "Slate", "Ivory", "Amber")
_THINGS = ("kettle", "stool", "mirror", "basket", "blanket", "candle", "clock")
#: Names that programs write for no one.
NOBODY = ("undefined", "null", "NaN", "[object Object]", "0", "guest", "anonymous", "(not set)")
Row = dict[str, Any]


def item(number: int) -> str:
    """Return the id of an ordinary item."""
    return f"q-{number:03d}"


def write_catalog(path: Path, sold_out: frozenset[str] = frozenset()) -> Path:
    """Write the shop's catalog."""
    sink = io.StringIO()
    writer = csv.writer(sink, lineterminator="\n")
    writer.writerow(["item_id", "title", "category", "price", "currency", "available"])
    names = [(odd, f"Oddly named article number {n}", "misc") for n, odd in enumerate(ODD_IDS)]
    for n in range(ITEMS):
        thing = _THINGS[n % len(_THINGS)]
        names.append((item(n), f"{_WOODS[n // len(_THINGS) % len(_WOODS)]} {thing} no. {n}", f"home/{thing}"))
    for n, (name, title, category) in enumerate(names):
        writer.writerow([name, title, category, f"{5 + n}.90", "EUR", str(name not in sold_out).lower()])
    path.write_text(sink.getvalue(), encoding="utf-8")
    return path


def events(given: Given) -> list[Row]:
    """Days of shoppers who mostly go on to the next item of one kind, up to yesterday."""
    rows: list[Row] = []
    for shopper in range(SHOPPERS):
        at = given.draw.randrange(ITEMS)
        for ago in range(DAYS, 0, -1):
            if given.draw.random() < 0.25:
                continue
            start = given.draw.uniform(6 * 3600, 20 * 3600)
            for step in range(given.draw.randint(2, 5)):
                at = (at + len(_THINGS)) % ITEMS if given.draw.random() < 0.85 else given.draw.randrange(ITEMS)
                kind = "purchase" if given.draw.random() < 0.1 else "view"
                rows.append(_row(f"s{shopper:03d}-{ago}-{step}", given.at(ago, start + 40 * step), shopper_id(shopper),
                                 item(at), kind))  # fmt: skip
    return rows


def shopper_id(number: int) -> str:
    """Return a shopper's identifier."""
    return f"member-{number:03d}"


def nobodys(given: Given, count: int) -> list[Row]:
    """Rows of guests, under the names that programs give them."""
    return [_row(f"n{n}", given.at(1, 30.0 * n), NOBODY[n % len(NOBODY)], item(n % ITEMS)) for n in range(count)]


def like_pseudonyms(given: Given) -> list[str]:
    """Identifiers of the shop that look like our pseudonyms."""
    return [f"u_{hashlib.md5(f'{given.run}-{n}'.encode(), usedforsecurity=False).hexdigest()}" for n in range(3)]


def rows_of(given: Given, names: list[str], each: int) -> list[Row]:
    """Rows of some shoppers on the newest day."""
    return [
        _row(f"p{k}-{n}", given.at(1, 36_000 + 500 * k + 60 * n), name, item((3 * k + n) % ITEMS))
        for k, name in enumerate(names)
        for n in range(each)
    ]


def _row(number: str, at: str, user: str, what: str, kind: str = "view") -> Row:
    return {"event_id": f"cases-{number}", "event_time": at, "user_id": user, "kind": kind, "item_id": what}


def write_events(path: Path, rows: list[Row]) -> Path:
    """Write rows as JSON lines."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path
