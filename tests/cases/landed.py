"""Cases 01 to 04 and 17: files that come late, twice, cut or corrected, landed by the commands. On a stack."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from contracts.events import CLOCK_SKEW
from tests.cases.case import Case, Given, Looks
from tests.cases.running import RunningShop
from tests.waiting import until

HEAD = "event_id,event_time,user_id,kind,item_id"


def _catalog(given: Given, count: int = 6, name: str = "catalog.csv") -> Path:
    lines = [f"i{n},Plank no. {n} of ash and fir,wood,{n + 1}.50" for n in range(count)]
    return given.write(name, "\n".join(["item_id,title,category,price", *lines]) + "\n")


def _day(given: Given, name: str, ago: int, count: int, prefix: str, *more: str, items: int = 6) -> Path:
    step = 80_000 // count
    rows = [f"{prefix}{n},{given.at(ago, step * n)},u{n % 7},view,i{n % items}" for n in range(count)]
    return given.write(name, "\n".join([HEAD, *more, *rows]) + "\n")


def check_overlap(looks: Looks, given: Given, shop: RunningShop) -> None:
    """Exports of the day so far: each row comes in several files."""
    whole = given.draw.choice((48, 60, 72))
    files = []
    for part in (1, 2, 3, 4):
        text = _day(given, "all.csv", 2, whole, "e").read_text().splitlines()
        files.append(given.write(f"{part}.csv", "\n".join(text[: 1 + whole * part // 4]) + "\n"))
    landed = shop.ingest(given.run, "--catalog", _catalog(given), *files)
    looks.equal("ingest exits", 0, landed.code)
    done = shop.validate(given.run, str(given.day(2)))
    looks.equal("validate exits", 0, done.code)
    looks.equal("kept", whole, done.report.get("kept"))
    again = whole * 10 // 4 - whole
    looks.equal("quarantined", {"duplicate_event_id": again}, done.report.get("quarantined"))


def check_replace(looks: Looks, given: Given, shop: RunningShop) -> None:
    """A corrected day with one row of the evening before leaves that day as it was."""
    count = given.draw.randint(30, 50)
    late = f"late,{given.at(3, 86_398)},u3,view,i1"
    files = [_day(given, "a.csv", 3, count, "a"), _day(given, "b.csv", 2, count, "b")]
    shop.ingest(given.run, "--catalog", _catalog(given), *files)
    looks.equal("before", count, shop.validate(given.run, str(given.day(3))).report.get("kept"))
    shop.validate(given.run, str(given.day(2)))
    done = shop.ingest(given.run, "--replace", _day(given, "c.csv", 2, count, "c", late))
    looks.equal("--replace exits", 0, done.code)
    looks.equal("the day itself", count, shop.validate(given.run, str(given.day(2))).report.get("kept"))
    looks.equal("the day before", count + 1, shop.validate(given.run, str(given.day(3))).report.get("kept"))


def check_cut(looks: Looks, given: Given, shop: RunningShop) -> None:
    """The first bytes of yesterday's catalog do not replace it."""
    whole = _catalog(given, 200)
    cut = given.write("cut.csv", whole.read_text()[: given.draw.randint(100, 200)])
    first, second = _day(given, "a.csv", 3, 60, "a", items=200), _day(given, "b.csv", 2, 60, "b", items=3)
    shop.ingest(given.run, "--catalog", whole, first)
    looks.equal("catalog of the first day", 200, shop.validate(given.run, str(given.day(3))).report["catalog_items"])
    shop.ingest(given.run, "--catalog", cut, second)
    refused = shop.validate(given.run, str(given.day(2)))
    looks.equal("validate exits", 3, refused.code)
    looks.holds("with both numbers:", "200" in refused.said, refused.said)
    let = shop.validate(given.run, str(given.day(2)), "--accept-changes")
    looks.equal("--accept-changes exits", 0, let.code)


def check_ahead(looks: Looks, given: Given, shop: RunningShop) -> None:
    """A row that was ahead of the clock is taken once its time has come."""
    from datetime import UTC, datetime

    now = datetime.now(UTC)
    ahead = now + CLOCK_SKEW + timedelta(seconds=45)
    past = f"past,{now - timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ},u1,view,i1"
    events = given.write("e.csv", "\n".join([HEAD, past, f"ahead,{ahead:%Y-%m-%dT%H:%M:%SZ},u1,view,i2"]) + "\n")
    first = shop.ingest(given.run, "--catalog", _catalog(given), events)
    looks.equal("set aside at first", 1, sum(first.report.get("files", [{}])[0].get("quarantined", {}).values()))
    until(lambda: datetime.now(UTC) > ahead - CLOCK_SKEW + timedelta(seconds=2), 120, every=1)
    second = shop.ingest(given.run, events)
    looks.equal("the next landing exits", 0, second.code)
    kept = sum(
        shop.validate(given.run, day).report.get("kept", 0) for day in sorted({f"{past[5:15]}", f"{ahead:%Y-%m-%d}"})
    )
    looks.equal("kept", 2, kept)


def check_correction(looks: Looks, given: Given, shop: RunningShop) -> None:
    """A wrong price of a day that ran is corrected, with a reason, and the pin changes."""
    day = str(given.day(2))
    wrong = given.write("wrong.csv", "item_id,title,price,available\ni0,Ash plank,1999,false\ni1,Fir plank,4.00,true\n")
    right = given.write("right.csv", "item_id,title,price,available\ni0,Ash plank,19.99,true\ni1,Fir plank,4.00,true\n")
    shop.ingest(given.run, "--catalog", wrong, _day(given, "e.csv", 2, 40, "e", items=2))
    before = shop.validate(given.run, day).report["catalog_digest"]
    shop.ingest(given.run, "--catalog", right)
    looks.equal("pinned still", before, shop.validate(given.run, day).report["catalog_digest"])
    done = shop.validate(given.run, day, "--correct-catalog", "--reason", "a price was wrong for an hour")
    looks.equal("--correct-catalog exits", 0, done.code)
    looks.holds("the digest changes", done.report["catalog_digest"] != before)


CASES = (
    Case("01", "overlapping exports", "each row counts once, no refusal", "stack", check_overlap),
    Case("02", "--replace and the day before", "its rows stay", "stack", check_replace),
    Case("03", "a catalog cut in transit", "refused with both numbers; --accept-changes", "stack", check_cut),
    Case("04", "a row ahead of the clock", "taken when its time has come", "stack", check_ahead),
    Case("17", "a corrected catalog", "a way to pin it, with a reason", "stack", check_correction),
)
