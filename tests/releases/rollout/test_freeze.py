"""A freeze holds promotions; what people type to set and end one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from artifacts.ledger import Ledger
from caravan.cli.console.tables import time_left
from caravan.cli.main import app
from caravan.cli.release.freeze import moment
from contracts.errors import SettingsError
from contracts.settings import Settings
from releases.rollout.freeze import freeze, frozen, thaw

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("2h", NOW + timedelta(hours=2)),
        (" 3d ", NOW + timedelta(days=3)),
        ("90m", NOW + timedelta(minutes=90)),
        ("2026-05-05T06:00", datetime(2026, 5, 5, 6, tzinfo=UTC)),
        ("2026-05-05T06:00+02:00", datetime(2026, 5, 5, 4, tzinfo=UTC)),
        ("2026-05-05", datetime(2026, 5, 5, tzinfo=UTC)),
    ],
)
def test_a_time_or_a_span(text: str, end: datetime) -> None:
    assert moment(text, NOW) == end


@pytest.mark.parametrize("text", ["", "soon", "2w", "-2h", "9999d", "2h30m", "2027-05-04"])
def test_what_is_no_time_or_too_far_is_refused(text: str) -> None:
    with pytest.raises(SettingsError):
        moment(text, NOW)


def test_how_long_it_is_in_words() -> None:
    assert [time_left(NOW + timedelta(minutes=m), NOW) for m in (0, 90, 150, 3000)] == [
        "0 min",
        "90 min",
        "2 h 30 min",
        "2 days",
    ]


@pytest.mark.stack
def test_the_last_word_counts_and_a_freeze_ends_by_itself(ledger: Ledger) -> None:
    assert frozen(ledger, now=NOW) is None
    freeze(ledger, until=NOW + timedelta(hours=2), person="oncall", reason="sale", now=NOW)
    held = frozen(ledger, now=NOW + timedelta(hours=1))
    assert held is not None
    assert (held.actor, held.reason) == ("oncall", "sale")
    assert frozen(ledger, now=NOW + timedelta(hours=2)) is None
    thaw(ledger, person="admin", reason="over", now=NOW + timedelta(minutes=1))
    assert frozen(ledger, now=NOW + timedelta(hours=1)) is None
    with pytest.raises(SettingsError, match="is over"):
        freeze(ledger, until=NOW, person="oncall", reason="sale", now=NOW)


@pytest.mark.stack
def test_the_commands_freeze_and_thaw(stack: Settings, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("artifacts.ledger.Ledger.of", lambda _s: ledger)
    for module in ("freeze", "release"):
        monkeypatch.setattr(f"caravan.cli.release.{module}.settings", lambda: stack)
    monkeypatch.setattr("caravan.cli.release.sign_in.answering", lambda _s: True)
    monkeypatch.setattr("caravan.cli.release.sign_in.person", lambda _s, user, **_: user)
    run = CliRunner().invoke
    assert "nothing is frozen" in run(app, ["thaw", "--reason", "early"]).output
    said = run(app, ["freeze", "--until", "2h", "--reason", "sale weekend", "--as", "reviewer"])
    assert said.exit_code == 0, said.output
    assert "frozen by reviewer" in said.output
    assert "(120 min)" in said.output or "2 h 0 min" in said.output
    listed = run(app, ["release", "list"]).output
    assert "FROZEN until" in listed
    assert "reviewer: sale weekend" in " ".join(listed.split())
    assert "thawed by oncall" in run(app, ["thaw", "--reason", "it is over"]).output
    assert "FROZEN" not in run(app, ["release", "list"]).output
