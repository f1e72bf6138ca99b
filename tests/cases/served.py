"""Cases 09, 14, 15, 30 to 42: what the edge answers, and what it keeps. On a stack."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from typing import Any

from serving.edge import arm_assignment
from tests.cases import probe_shop
from tests.cases.case import Case, Given, Looks
from tests.cases.running import ORIGIN, RunningShop
from tests.retrieval import nonsense
from tests.waiting import until

#: Addresses that are not ASCII; `{}` is a word of the seed's.
ADDRESSES = (
    "to {}ß@größe-muster.example",
    "{}@пошта.приклад",
    "{}＠example.org",
    "{}@例え.example",
    "{}.plain@example.org",
)
SHOPPER_IDS = ("acme|{}", "urn:{}", "{}@example.org", "{}==", "{{{}}}", "team/{}", "plain-{}", "a,b;{}")


def _event(given: Given, number: int, **more: Any) -> dict[str, Any]:
    at = datetime.now(UTC) - timedelta(minutes=5) + timedelta(seconds=number)
    event = {"event_id": f"{given.run}-{number}", "event_time": at.isoformat(), "user_id": f"{given.run}-u",
             "kind": "view", "item_id": probe_shop.item(number % probe_shop.ITEMS)}  # fmt: skip
    return event | more


def check_nobody(looks: Looks, given: Given, shop: RunningShop) -> None:
    """Names for no one have no history, and the day says how many rows carry them."""
    for name in given.draw.sample(probe_shop.NOBODY, 6):
        answer = shop.recommend(name, k=3)
        looks.equal(f"{name!r}:", "unknown-shopper", answer.get("fallback_reason"))
    known = shop.recommend(probe_shop.shopper_id(3), k=3)
    looks.equal("a member's fallback", False, known.get("fallback"))
    day = shop.validate(shop.s.shop, shop.day).report
    looks.equal("the day's report: nobody's rows", 240, day.get("quarantined", {}).get("nobody"))


def check_addresses(looks: Looks, given: Given, shop: RunningShop) -> None:
    """Addresses of every script are `[email]` in the event log."""
    word = f"jo{given.run}"
    sent = [_event(given, n, kind="search", item_id=None, query=text.format(word)) for n, text in enumerate(ADDRESSES)]
    looks.equal("accepted", len(sent), shop.send(sent).get("accepted"))
    lines = _log_lines(shop, given.run)
    looks.equal("lines", len(sent), len(lines))
    looks.equal("with [email]", len(sent), sum("[email]" in line for line in lines))
    looks.equal("with the address", 0, sum(word in line for line in lines))


def _log_lines(shop: RunningShop, run: str) -> list[str]:
    folder = shop.s.paths.event_log
    texts = [path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*.jsonl"))]
    return [line for text in texts for line in text.splitlines() if f'"{run}-' in line]


def check_pseudonyms(looks: Looks, given: Given, shop: RunningShop) -> None:
    """A member id in the shape of a pseudonym is found by those who look for it."""
    name = shop.planted["pseudonyms"][0]
    found = shop.caravan("forget", name, "--dry-run", "--json")
    rows = json.loads(found.out[found.out.find("[") :])[0]["found"] if "[" in found.out else {}
    looks.equal("forget exits", 0, found.code)
    found_rows = rows.get("lake landing-events", 0)
    looks.holds("landed rows found, 10 at least:", found_rows >= 10, found_rows)
    shown = shop.caravan("features", "show", name, "--source", shop.s.shop)
    looks.holds("features show knows it", shown.code == 0 and "nothing" not in shown.said, shown.said)
    looks.equal("fallback online", False, shop.recommend(name, k=3).get("fallback"))


def check_nonsense(looks: Looks, given: Given, shop: RunningShop) -> None:
    """Nonsense has no items; words, typos and model numbers have."""
    draw = random.Random(given.draw.random())
    made = [make for kind, make in nonsense.KINDS.items() if kind != "signs"]
    asked = [make(draw) for make in made for _ in range(3)]
    answered = [text for text in asked if shop.search(text).get("items")]
    looks.holds(f"of {len(asked)} strings answered, 1 at most by chance:", len(answered) <= 1, answered)
    signs = given.draw.sample(nonsense.SIGNS, 6)
    looks.equal("of signs answered", [], [sign for sign in signs if shop.search(sign).get("items")])
    for real in ("copper kettle", "kettel", "blankets", "teak stoool"):
        looks.holds(f"{real!r} answered", shop.search(real).get("items"))


def check_odd_ids(looks: Looks, given: Given, shop: RunningShop) -> None:
    """Every id of the catalog can be asked for; a slash in a path is told the way."""
    for odd in probe_shop.ODD_IDS:
        answer = shop.nobody.get("/similar", params={"item_id": odd, "k": 3})
        looks.equal(odd, 200, answer.status_code)
    answers = [shop.nobody.get("/similar", params={"item_id": i, "k": 20}).json()["items"] for i in ("012", "12")]
    looks.equal("012 and 12 are two", (True, True), ("12" in _ids(answers[0]), "012" in _ids(answers[1])))
    refused = shop.nobody.get("/similar/KB%2F12-ELL")
    looks.equal("a slash in the path", 400, refused.status_code)
    looks.holds("remedy", "GET /similar?item_id=" in refused.json()["remedy"], refused.json()["remedy"])


def _ids(items: list[dict[str, Any]]) -> list[str]:
    return [str(one["item_id"]) for one in items]


def check_shopper_ids(looks: Looks, given: Given, shop: RunningShop) -> None:
    """A shopper of the shop's server keeps the id, and so the arm."""
    for form in SHOPPER_IDS:
        name = form.format(given.run)
        answers = [
            shop.shop.get("/search", params={"q": "kettle"}, headers={arm_assignment.SHOPPER_HEADER: name})
            for _ in "ab"
        ]
        lines = shop.access_lines({answer.headers["x-request-id"] for answer in answers})
        looks.equal(name, ([200, 200], 0, {name}), (
            [answer.status_code for answer in answers], sum("set-cookie" in answer.headers for answer in answers),
            {line["shopper"] for line in lines},
        ))  # fmt: skip


def check_beacon(looks: Looks, given: Given, shop: RunningShop) -> None:
    """A beacon can set no header: its token is in the body, and a preflight is answered."""
    name, text = f"{given.run}-b", {"content-type": "text/plain;charset=UTF-8"}
    body: dict[str, Any] = {"events": [_event(given, 0, user_id=name)]}
    without = shop.nobody.post("/events", content=json.dumps(body), headers=text)
    looks.equal("without a token", 401, without.status_code)
    looks.holds("it says so:", "token" in without.json()["remedy"], without.json()["remedy"])
    token = shop.shop.post("/shopper", json={"user_id": name}).json().get("token")
    taken = shop.nobody.post("/events", content=json.dumps(body | {"token": token}), headers=text)
    looks.equal("with one", (200, 1), (taken.status_code, taken.json().get("accepted")))
    origin = shop.s.allowed_origins.partition(",")[0] or ORIGIN
    asked = {
        "origin": origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "content-type",
    }
    preflight = shop.nobody.options("/events", headers=asked)
    looks.equal("preflight", 200 if shop.s.allowed_origins else 403, preflight.status_code)


def check_doors(looks: Looks, given: Given, shop: RunningShop) -> None:
    """What the door accepts is kept at night: rejected here with the contract's reasons, or not at all."""
    sent = [
        _event(given, 0, event_time="1970-01-01T00:00:00Z"),
        _event(given, 1, kind="search", item_id=None, query="teak\u0007 stool"),
        _event(given, 2, kind="search", item_id=None, query="teak\u0000stool"),
        _event(given, 3, kind="purchase", value=True),
        _event(given, 4),
    ]
    answer = shop.send(sent)
    reasons = [verdict.get("reason", "").partition(":")[0] for verdict in answer["verdicts"]]
    looks.equal("reasons", ["event_time_too_old", "bad_query", "bad_query", "bad_value", ""], reasons)
    looks.equal("accepted", 1, answer["accepted"])
    today = f"{datetime.now(UTC) - timedelta(minutes=5):%Y-%m-%d}"
    night = shop.validate(shop.s.shop, today, "--accept-changes")
    looks.equal("the night exits", 0, night.code)
    lost = {reason: n for reason, n in night.report.get("quarantined", {}).items() if reason != "duplicate_event_id"}
    looks.equal("quarantined of what doors accepted", {}, lost)


def check_bought(looks: Looks, given: Given, shop: RunningShop) -> None:
    """Bought, then sixty views: still hidden."""
    buyer, what = f"{given.run}-buyer", probe_shop.item(given.draw.randrange(30))

    def shown() -> bool:
        return what in _ids(shop.recommend(buyer, k=100, hide_purchased=True).get("items", []))

    shop.send([_event(given, 0, user_id=buyer, kind="purchase", item_id=what)])
    until(lambda: not shown(), 10, every=0.2, otherwise="bought and still offered")
    views = [_event(given, n, user_id=buyer, item_id=probe_shop.item(30 + n % 35)) for n in range(1, 61)]
    looks.equal("views accepted", 60, shop.send(views).get("accepted"))
    until(lambda: not shop.recommend(buyer, k=3).get("fallback"), 10, every=0.2)
    looks.equal("offered after sixty views", False, shown())


def check_sold_out(looks: Looks, given: Given, shop: RunningShop) -> None:
    """Sold out by a newer catalog is gone before any new release, and back the same way."""
    number = given.draw.randrange(40, 60)
    what, title = probe_shop.item(number), f"no. {number}"

    def shown() -> bool:
        return what in _ids(shop.search(title, k=50)["items"])

    looks.equal("found before", True, shown())
    for sold_out in (True, False):
        gone = frozenset({what}) if sold_out else frozenset[str]()
        shop.ingest(shop.s.shop, "--catalog", probe_shop.write_catalog(given.folder / f"{sold_out}.csv", gone))
        began = datetime.now(UTC)
        until(lambda now=sold_out: shown() is not now, 120, every=1, otherwise=f"sold out {sold_out}: no change")
        looks.holds("gone after" if sold_out else "back after", True, f"{(datetime.now(UTC) - began).seconds} s")


CASES = (
    Case("09", "nobody's names", "no history; the day names their share", "stack", check_nobody),
    Case("14", "addresses that are not ASCII", "[email] in the log", "stack", check_addresses),
    Case("15", "ids like pseudonyms", "found by forget and features show", "stack", check_pseudonyms),
    Case("30", "nonsense", "no items; words and typos have", "stack", check_nonsense),
    Case("31", "ids with a slash", "each can be asked for; a path says the way", "stack", check_odd_ids),
    Case("32", "ids of shoppers", "kept, no cookie, one arm", "stack", check_shopper_ids),
    Case("34", "sendBeacon", "token in the body; 401 without; a preflight", "stack", check_beacon),
    Case("37", "doors and night agree", "accepted is kept", "stack", check_doors),
    Case("39", "bought long ago", "hidden after sixty views", "stack", check_bought),
    Case("42", "sold out at noon", "gone without a release, and back", "stack", check_sold_out),
)
