"""Machines are told from keen people by days that no person can have; whoever is only keen stays."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from contracts.events import EVENTS
from ingestion import sources
from ingestion.landing.land import land
from ingestion.rules.machines import Machines, find_machines
from ingestion.validation.validate import validate_day
from tests.ingestion.builders import KEY, NOW, START, catalog, lake, parquet, rows
from tests.ingestion.validation.test_land_and_validate import DAY

DAY_S = 86_400
Seconds = np.ndarray[tuple[int], np.dtype[np.float64]]


def table(shoppers: dict[str, Seconds], *, kind: str = "view") -> pa.Table:
    """One event at each second given, since 2026-01-01."""
    users = [name for name, times in shoppers.items() for _ in times]
    times = np.concatenate([*shoppers.values(), np.zeros(0)]) + 1_767_225_600
    columns = {
        "event_time": pa.array((times * 1e6).astype(np.int64)).cast(pa.timestamp("us", "UTC")),
        "user_id": users,
        "kind": [kind] * len(users),
        "item_id": [f"i{n % 50}" for n in range(len(users))],
    }
    return pa.table({n: columns.get(n, [None] * len(users)) for n in EVENTS.names}, schema=EVENTS)


def person(draw: np.random.Generator, actions: int, *, begin: float = 9 * 3600, pause: float = 40.0) -> Seconds:
    """One visit of a person: pauses of all lengths."""
    return begin + np.cumsum(draw.lognormal(np.log(pause), 1.0, size=actions))


def crowd(count: int = 60, *, most: int = 12) -> dict[str, Seconds]:
    draw = np.random.default_rng(5)
    return {
        f"p{n}": person(draw, int(draw.integers(1, most)), begin=float(draw.uniform(0, 20 * 3600)))
        for n in range(count)
    }


def found(odd: Seconds, **others: Seconds) -> Machines:
    return find_machines(table({**crowd(), "odd": odd, **others}))


MACHINES: dict[str, tuple[Callable[[np.random.Generator], Seconds], str]] = {
    "a crawler all day long": (lambda d: np.arange(100_000) * 0.8, "pace"),
    "one that hurries for an hour": (lambda d: 36_000 + np.cumsum(d.exponential(2.0, 1_500)), "pace"),
    "one that is slow, with chance in it, and never sleeps": (lambda d: np.sort(d.uniform(0, DAY_S, 900)), "no_rest"),
    "one that asks every minute for some hours": (lambda d: 30_000 + np.arange(300) * 60.0, "regular"),
    "a whole history at one instant": (lambda d: np.full(20_000, 43_200.0), "bulk"),
}


@pytest.mark.parametrize("name", MACHINES)
def test_a_machine_is_found_with_its_reason(name: str) -> None:
    make, reason = MACHINES[name]
    odd = make(np.random.default_rng(1))
    machines = found(odd)
    assert (machines.names.to_pylist(), machines.reasons) == (["odd"], (reason,))
    counted = machines.to_dict()
    assert (counted["shoppers"], counted["interactions"], counted["reasons"]) == (1, len(odd), {reason: 1})
    assert "odd" not in str(counted)
    assert f"1 of 61 shoppers are machines and set aside, with {len(odd)} of" in str(machines)


def test_a_crawler_by_many_names_is_found_too() -> None:
    """A rule by the share of a day would miss each of them, and the greatest ones would hide each other."""
    draw = np.random.default_rng(2)
    names = {f"bot{n}": np.sort(draw.uniform(0, DAY_S, 3_000)) for n in range(12)}
    assert sorted(find_machines(table({**crowd(), **names})).names.to_pylist()) == sorted(names)


PEOPLE: dict[str, Callable[[np.random.Generator], Seconds]] = {
    "looks at six hundred things in an evening": lambda d: person(d, 600, pause=15),
    "is there all day and half the night": lambda d: np.concatenate(
        [person(d, 150, begin=h * 3600.0, pause=12) for h in (0, 7, 10, 13, 16, 19, 22)]
    ),
    "shops every day of a month": lambda d: np.concatenate(
        [person(d, 120, begin=day * DAY_S + 50_000) for day in range(30)]
    ),
    "orders eight hundred lines at once": lambda d: np.full(800, 40_000.0),
    "whose order arrives line by line, a millisecond each": lambda d: 40_000 + np.arange(900) * 1e-3,
}


@pytest.mark.parametrize("name", PEOPLE)
def test_a_keen_person_stays(name: str) -> None:
    assert not len(found(PEOPLE[name](np.random.default_rng(3))))


def test_what_is_usual_in_a_shop_is_no_machine() -> None:
    """A made-up clock, or a shop of wholesalers, makes all of them alike; few shoppers have nothing usual."""
    draw = np.random.default_rng(4)
    assert not len(find_machines(table({f"p{n}": 3_600 + np.arange(400) * 60.0 for n in range(40)})))
    assert not len(find_machines(table({f"w{n}": np.sort(draw.uniform(0, DAY_S, 2_500)) for n in range(40)})))
    assert not len(find_machines(table({"a": person(draw, 5), "bot": np.arange(50_000) * 1.0})))
    assert not len(find_machines(table({})))


def test_only_interactions_count() -> None:
    """What is shown to a shopper is the shop's doing."""
    shown = table({"odd": np.arange(80_000) * 1.0}, kind="impression")
    assert not len(find_machines(pa.concat_tables([table(crowd()), shown])))


@pytest.mark.parametrize("name", ["ml-100k", "office", "diginetica"])
def test_nobody_of_a_public_data_set_is_a_machine(name: str, real_data: Path) -> None:
    events = sources.get(name).convert(real_data / name).events
    assert events is not None
    machines = find_machines(events.cast(EVENTS))
    assert (len(machines), machines.of_actions > 50_000) == (0, True)


def test_the_report_of_a_day_tells_of_its_machines(tmp_path: Path) -> None:
    where = lake(tmp_path)
    people = [r | {"user_id": f"p{n % 2_000}"} for n, r in enumerate(rows(6_000))]
    seen = {"user_id": "bot", "kind": "view", "item_id": "item-1", "query": None, "position": None, "value": None}
    bot = [r | seen | {"event_time": START + timedelta(minutes=n)} for n, r in enumerate(rows(290, prefix="b"))]
    land(where, [parquet(people + bot, tmp_path / "e")], catalog(tmp_path / "c"), pseudonymizer=KEY, now=NOW)
    day = validate_day(where, DAY)
    assert day.kept == 6_290  # set aside where somebody learns from them, and nowhere else
    assert (day.machines["shoppers"], day.machines["reasons"]) == (1, {"regular": 1})
    assert "of this day alone, 1 of " in str(day)
    assert validate_day(where, DAY).machines == day.machines
