"""Cases 10, 18, 20 and N1 to N4: who and what a night learns from. Without a stack."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from contracts.errors import DataError, UnknownItems
from contracts.events import CATALOG, EVENTS
from ingestion.landing.land import land
from ingestion.rules.machines import find_machines
from ingestion.validation.validate import validate_day
from monitoring.canary_judge import Decision, begin, judge
from monitoring.canary_policy import policy_named
from monitoring.guardrails import Outcomes, Tally
from tests.cases.case import Case, Given, Looks
from tests.cases.values import KEY
from tests.ingestion.builders import lake
from training import recipes
from training.bundle import popular
from training.data import held_out, inputs
from training.gate import decide

NDCG = "ndcg_at_10_per_shopper"


def check_zeros(looks: Looks, given: Given) -> None:
    """Half of the rows come from a spreadsheet that took the leading zeros."""
    first = given.draw.randint(100, 400)
    ids = [f"{first + n:06d}" for n in range(30)]
    rows = [
        f"e{n},{given.at(2, n)},u{n % 40},view,{ids[n % 30] if n % 2 else ids[n % 30].lstrip('0')}" for n in range(800)
    ]
    events = given.write("e.csv", "\n".join(["event_id,event_time,user_id,kind,item_id", *rows]) + "\n")
    catalog = given.write("c.csv", "item_id,title\n" + "".join(f"{i},Part no. {i}\n" for i in ids))
    where = lake(given.folder)
    land(where, [events], catalog, pseudonymizer=KEY, now=given.now)
    try:
        said = str(validate_day(where, str(given.day(2))))
        looks.holds("the day is refused", False, said)
    except UnknownItems as error:
        looks.holds("the day is refused:", "400 of 800" in error.what, error.what)


def _events(rows: list[tuple[datetime, str, str]], kind: str = "view") -> pa.Table:
    table: dict[str, list[Any]] = {
        "event_id": [f"e{n}" for n in range(len(rows))], "event_time": [r[0] for r in rows],
        "user_id": [r[1] for r in rows], "kind": [kind] * len(rows), "item_id": [r[2] for r in rows],
    }  # fmt: skip
    return pa.table({name: table.get(name, [None] * len(rows)) for name in EVENTS.names}, schema=EVENTS)


def _catalog(count: int) -> pa.Table:
    columns = {"item_id": [f"i-{n:03d}" for n in range(count)], "title": [f"Item {n}" for n in range(count)]}
    return pa.table({name: columns.get(name, [None] * count) for name in CATALOG.names}, schema=CATALOG)


def _days(given: Given, *, shoppers: int, days: int, items: int, basket: int) -> list[tuple[datetime, str, str]]:
    """Baskets of one instant, drawn at random: nothing can be learned from them."""
    rows = []
    for ago in range(days, 0, -1):
        start = datetime.combine(given.day(ago), datetime.min.time(), UTC) + timedelta(hours=12)
        for shopper in range(shoppers):
            at = start + timedelta(seconds=17 * shopper)
            rows += [(at, f"u{shopper:03d}", f"i-{n:03d}") for n in given.draw.sample(range(items), basket)]
    return rows


def check_ties(looks: Looks, given: Given) -> None:
    """Baskets of one second: no question sees its own instant, and the order of rows asks the same."""
    recipe = replace(recipes.get("tiny"), min_train_interactions=1, text=False)
    rows = _days(given, shoppers=60, days=8, items=40, basket=5)
    shuffled = given.draw.sample(rows, len(rows))
    asked = []
    for order in (rows, sorted(rows, key=lambda r: (r[0], r[2])), shuffled):
        made = inputs.assemble(_events(order, "purchase"), _catalog(40), None, recipe, about="a case")
        examples, _, times = held_out.held_out_examples(made, recipe)
        lengths = (examples.stops - examples.starts).tolist()
        asked.append(sorted(zip(times.tolist(), examples.targets.tolist(), lengths, strict=True)))
    looks.holds("questions", len(asked[0]) > 100, len(asked[0]))
    looks.equal("lengths of histories that are no whole baskets", 0, sum(length % 5 > 0 for _, _, length in asked[0]))
    looks.equal("questions that differ by the order of rows", True, asked[0] == asked[1] == asked[2])


def check_bot(looks: Looks, given: Given) -> None:
    """One crawler with 60,000 views beside 160 people: found, told, and in no list."""
    recipe = replace(recipes.get("tiny"), text=False)
    people = _days(given, shoppers=160, days=5, items=50, basket=3)
    at = datetime.combine(given.day(1), datetime.min.time(), UTC)
    circle = [f"i-{n:03d}" for n in range(45, 50)]
    bot = [(at + timedelta(milliseconds=1400 * n), "crawler-7", circle[n % 5]) for n in range(60_000)]
    machines = find_machines(_events(people + bot))
    looks.equal("machines", ["crawler-7"], machines.names.to_pylist())
    looks.holds("told:", "60000 of" in str(machines), str(machines))
    with_it, without = (
        inputs.assemble(_events(rows), _catalog(50), None, recipe, about="a case") for rows in (people + bot, people)
    )
    looks.equal("best five change by it", False, popular(with_it)["all"][:5] != popular(without)["all"][:5])
    examples = [held_out.held_out_examples(made, recipe)[0] for made in (with_it, without)]
    looks.equal("questions about it", 0, len(examples[0]) - len(examples[1]))


def check_unreadable(looks: Looks, given: Given) -> None:
    """A file most of whose rows have a time that cannot be read is no success."""
    bad = given.draw.randint(60, 95)
    rows = [f"e{n},{'46351.4' if n < bad else given.at(2, n)},u{n % 9},view,i{n % 3}" for n in range(100)]
    events = given.write("e.csv", "\n".join(["event_id,event_time,user_id,kind,item_id", *rows]) + "\n")
    catalog = given.write("c.csv", "item_id,title\ni0,A\ni1,B\ni2,C\n")
    where = lake(given.folder)
    land(where, [events], catalog, pseudonymizer=KEY, now=given.now)
    try:
        looks.holds("the day is refused", False, str(validate_day(where, str(given.day(2)))))
    except DataError as error:
        looks.holds("the day is refused:", f"{bad} of 100 rows" in error.what, error.what)


def _report(mean: float, error: float) -> dict[str, Any]:
    """An evaluation without a champion, `mean` above popularity."""
    above = {"mean": mean, "interval": [mean - 2 * error, mean + 2 * error], "standard_error": error}
    parts = ("follows", "last_item_neighbours")
    figures = {"challenger": {NDCG: 0.1041, f"{NDCG}_interval": [0.09, 0.12]}, "popularity": {NDCG: 0.1041 - mean}}
    return {
        "held_out": ["2026-01-07"], "questions": 500, "shoppers": 120,
        "rankers": figures | {part: {NDCG: 0.09} for part in parts},
        "differences": {"popularity": above} | dict.fromkeys(parts, above),
        "anchor": {"asked": 0, "release": None, "better": []}, "noise": {"training": 0.015, "nights": 3},
        "ranker": {"ranks": "ranker", "best_source": "follows"},
    }  # fmt: skip


def check_gate(looks: Looks, given: Given) -> None:
    """Above popularity by its point estimate alone: refused; beyond chance: not for that reason."""
    mean = given.draw.uniform(0.004, 0.006)
    noise, skill = decide(_report(mean, mean)), decide(_report(0.05, 0.002))
    looks.holds("noise is refused:", any("popularity" in why for why in noise.reasons), "; ".join(noise.reasons))
    looks.equal("skill is refused for popularity", False, any("popularity" in why for why in skill.reasons))


def check_quiet_step(looks: Looks, given: Given) -> None:
    """A first step in which nothing was counted does not go on."""
    for name in ("default", "demo"):
        policy = policy_named(name)
        nothing = Tally(control_shoppers=0, control_events=0, canary_shoppers=0, canary_events=0, complete_until=900.0)
        tallies = {guardrail.name: nothing for guardrail in policy.guardrails}
        found = Outcomes(control_shoppers=0, canary_shoppers=0, tallies=tallies)
        _, verdict = judge(policy, begin(policy, release="c" * 64, at=0.0), found, now=900.0)
        looks.equal(f"{name}:", Decision.HOLD, verdict.decision)
        looks.holds("with the counts:", any("0 of" in why for why in verdict.reasons), "; ".join(verdict.reasons))


CASES = (
    Case("10", "lost leading zeros", "half the items unknown: the day is refused, with both numbers", "nothing",
         check_zeros),
    Case("18", "ties in time", "no question sees its own instant, no order shows", "nothing", check_ties),
    Case("20", "a crawler", "found, told, in no list and no question", "nothing", check_bot),
    Case("N1", "times that cannot be read", "most rows lost: refused, with the numbers", "nothing", check_unreadable),
    Case("N2", "the gate on noise", "popularity is asked with its interval", "nothing", check_gate),
    Case("N4", "nothing counted in a step", "HOLD, with the counts", "nothing", check_quiet_step),
)  # fmt: skip
