"""The demo's two nights: what is there already is not made again, and a refusal is told and not hidden."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from caravan.cli.demo import demo, rollout, sample_answers
from caravan.cli.demo.generated_shop import DemoShop
from caravan.cli.main import app
from contracts.errors import CaravanError, ReleaseError, SettingsError
from contracts.settings import Settings
from ingestion.sources.shop import MadeShop

END = date(2026, 3, 28)
SHOP = DemoShop.new("shop", seed=7, shoppers=60, items=50, days=5, end=END)
MADE = MadeShop(events=[], catalog=Path("c"), judgments=Path("j"), counts={})


class Nights:
    """Nights that end as scripted: a digest, or an exit code."""

    def __init__(self, **ends: str | int | None) -> None:
        self._ends, self.ran = ends, list[str]()

    def run(self, day: date) -> str | None:
        self.ran.append(day.isoformat())
        end = self._ends["second" if day == END else "first"]
        if isinstance(end, int):
            raise typer.Exit(end)
        return end


class Gated:
    """A ledger in which every release waits for an answer."""

    def state(self, source: str, digest: str) -> str:
        return "gated"


def release_of(
    monkeypatch: pytest.MonkeyPatch, nights: Nights, *serving: date | None, left: str | None = None
) -> tuple[bool, list[str], str]:
    """Whether it was refused, the releases that went on their way, and what was said."""
    days, brought, console = iter(serving), list[str](), Console(record=True, width=200, quiet=False)
    monkeypatch.setattr(demo, "_serving", lambda *_: str(day) if (day := next(days)) else None)
    monkeypatch.setattr(rollout, "left", lambda *_: left)
    monkeypatch.setattr(rollout, "release", lambda _c, _s, digest, _e: brought.append(digest))
    refused = demo._release_of(console, console.print, Settings(), SHOP, nights, Gated(), MADE)  # type: ignore[arg-type]
    return refused, brought, console.export_text()


def test_a_new_shop_has_two_nights_and_the_second_release_goes_on_its_way(monkeypatch: pytest.MonkeyPatch) -> None:
    nights = Nights(first="a", second="b")
    refused, brought, _ = release_of(monkeypatch, nights, None, SHOP.before)
    assert nights.ran == [str(SHOP.before), str(END)]
    assert (refused, brought) == (False, ["b"])


def test_a_later_day_needs_its_own_night_only(monkeypatch: pytest.MonkeyPatch) -> None:
    nights = Nights(second="b")
    refused, brought, text = release_of(monkeypatch, nights, END - timedelta(days=3))
    assert nights.ran == [str(END)]
    assert (refused, brought) == (False, ["b"])
    assert "a release of 2026-03-25 serves already" in text


def test_run_twice_makes_nothing_again(monkeypatch: pytest.MonkeyPatch) -> None:
    nights = Nights()
    refused, brought, text = release_of(monkeypatch, nights, END)
    assert (refused, brought, nights.ran) == (False, [], [])
    assert "done before" in text


def test_a_night_whose_release_is_there_is_not_run_again(monkeypatch: pytest.MonkeyPatch) -> None:
    nights = Nights()
    refused, brought, text = release_of(monkeypatch, nights, SHOP.before, left="b" * 64)
    assert (refused, brought, nights.ran) == (False, ["b" * 64], [])
    assert "its release bbbbbbbbbbbb is gated" in text


def test_where_a_later_day_serves_it_says_which_day_to_ask_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ReleaseError) as refused:
        release_of(monkeypatch, Nights(), END + timedelta(days=1))
    assert "caravan demo --end 2026-03-29" in refused.value.remedy


def test_a_refused_second_night_is_told_and_the_answers_are_shown_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refused, brought, text = release_of(monkeypatch, Nights(first="a", second=3), None, SHOP.before)
    assert (refused, brought) == (True, [])
    assert f"The release of {SHOP.before} goes on serving" in text


@pytest.mark.parametrize("nights", [Nights(first="a", second=1), Nights(first=3, second="b")])
def test_a_crash_and_a_shop_without_any_release_end_the_demo(monkeypatch: pytest.MonkeyPatch, nights: Nights) -> None:
    with pytest.raises(typer.Exit):
        release_of(monkeypatch, nights, None, SHOP.before)


def test_a_shop_whose_nights_are_both_refused_is_told_what_else_to_try(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ReleaseError, match="nothing serves") as refused:
        release_of(monkeypatch, Nights(first=None, second=None), None, None)
    assert "--seed N" in refused.value.remedy


def answer(release: str, status: int = 200) -> httpx.Response:
    return httpx.Response(status, json={"release": release}, request=httpx.Request("POST", "http://edge/recommend"))


def test_the_edge_may_take_a_moment_to_answer_with_the_champion(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample_answers.time, "sleep", lambda _: None)
    answers = iter([answer("", 503), answer("old"), answer("new")])
    assert sample_answers.answer_of(lambda: next(answers), "new")["release"] == "new"
    with pytest.raises(CaravanError, match="the edge answers with release old, the champion is new"):
        sample_answers.answer_of(lambda: answer("old"), "new", patience=0.0)


@pytest.mark.parametrize("end", ["2999-01-01", "2026-02-29", "tomorrow"])
def test_a_day_that_can_not_be_is_refused_before_anything_starts(end: str) -> None:
    result = CliRunner().invoke(app, ["demo", "--end", end])
    assert isinstance(result.exception, SettingsError)


def test_ctrl_c_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "_run", interrupted)
    result = CliRunner().invoke(app, ["demo"])
    assert result.exit_code == 130
    assert "goes on from here" in result.output


def test_the_reason_of_an_item_is_told_in_words() -> None:
    titles = {"a": "Walnut lamp", "b": "Oak desk"}

    def told(**why: str) -> str:
        return sample_answers.because({"item_id": "b", "because": why}, titles)

    assert told(source="neighbours", item_id="a") == "often with Walnut lamp"
    assert told(source="affinity", item_id="a", category="home/lighting") == "popular in home/lighting"
    assert told(source="popular") == "popular"
    assert told(source="sequence", item_id="b") == "looked at before"
    assert sample_answers.because({"item_id": "b"}, titles) == ""  # a release of an earlier version
