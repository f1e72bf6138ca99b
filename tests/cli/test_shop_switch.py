"""`caravan region serve`: who signs in, what is said, what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from artifacts.ledger import Ledger
from caravan.cli.main import app
from contracts.errors import NotApproved
from contracts.settings import Settings
from tests.releases.fake_region import gated
from tests.releases.own_ledger import move_release, own_ledger

pytestmark = pytest.mark.stack
A, B = "a" * 64, "b" * 64


@pytest.fixture
def ledger(stack: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Ledger]:
    """The shop serves A, and B of another shop has passed the gate; whoever is named signs in."""
    s = stack.model_copy(update={"shop": "shop", "home": tmp_path, "reviewers": "admin,reviewer"})
    s.paths.alerts.parent.mkdir(parents=True)
    with own_ledger(stack) as ledger:
        monkeypatch.setattr("caravan.cli.release.shop_switch.settings", lambda: s)
        monkeypatch.setattr(Ledger, "of", classmethod(lambda *_: ledger))
        gated(ledger, "shop", A)
        for present, to in (("gated", "approved"), ("approved", "champion")):
            move_release(ledger, "shop", A, to=to, expected=present, actor="test", reason="test")
        gated(ledger, "office", B)
        yield ledger


def run(*words: str, signed_in: list[str] | None = None, monkeypatch: Any = None) -> Any:
    if monkeypatch is not None:
        names = [] if signed_in is None else signed_in
        monkeypatch.setattr("caravan.cli.release.sign_in.person", lambda _s, user, **_: names.append(user) or user)
        monkeypatch.setenv("CARAVAN_SECOND_PASSWORD", "x")
    return CliRunner().invoke(app, ["region", "serve", *words])


def test_two_reviewers_sign_in_and_the_way_back_is_told(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    names: list[str] = []
    words = ("office", "--as", "reviewer", "--and", "admin", "--reason", "it opens")
    dry = run(*words, "--dry-run", signed_in=names, monkeypatch=monkeypatch)
    assert dry.exit_code == 0, dry.output
    assert "All shoppers from shop to office" in dry.output
    assert (names, ledger.newest("serves")) == ([], None)
    told = run(*words, signed_in=names, monkeypatch=monkeypatch)
    assert told.exit_code == 0, told.output
    assert names == ["reviewer", "admin"]
    assert "the way back: caravan region serve shop" in told.output
    assert "CARAVAN_SHOP=office" in told.output
    assert ledger.state("office", B) == "approved"


def test_one_person_is_refused_before_a_password_is_asked_for(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    names: list[str] = []
    words = ("office", "--as", "reviewer", "--and", "reviewer", "--reason", "it opens")
    told = run(*words, signed_in=names, monkeypatch=monkeypatch)
    assert isinstance(told.exception, NotApproved)
    assert "2 different reviewers" in told.exception.what
    assert run(*words, "--dry-run").exit_code == 3
    assert (names, ledger.newest("serves")) == ([], None)


def test_what_is_served_already_is_said(ledger: Ledger) -> None:
    told = run("shop", "--as", "reviewer", "--and", "admin", "--reason", "again")
    assert (told.exit_code, told.output) == (0, "this region serves shop already\n")
