"""`caravan overlay`: what a person sees and how it ends, with a lake in memory."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from caravan.cli import main
from caravan.cli.release import overlay
from tests.releases.landed_shop import Shop


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    made = Shop(tmp_path)
    made.land({7})
    made.night()
    monkeypatch.setattr(overlay, "settings", lambda: made.s)
    monkeypatch.setattr(overlay, "_lake", lambda _source: made.lake)
    return made


def caravan(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["caravan", *arguments])
    with pytest.raises(SystemExit) as ended:
        main.main()
    return int(ended.value.code or 0)


def test_made_shown_and_made_again(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert caravan(monkeypatch, "overlay", "show") == 4
    assert "caravan ingest --catalog" in capsys.readouterr().err
    shop.land({5})
    assert caravan(monkeypatch, "overlay", "make") == 0
    assert "is new: number 1" in (said := capsys.readouterr().out)
    assert "sold out: 1, available again: 1" in said
    assert caravan(monkeypatch, "overlay", "make", "--json") == 0  # as already asked
    again = json.loads(capsys.readouterr().out)
    assert (again["made"], again["number"]) == (False, 1)
    assert caravan(monkeypatch, "overlay", "show", "--json") == 0
    assert json.loads(capsys.readouterr().out) == again


def test_a_broken_export_is_refused_with_the_way_on(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.land(items=range(3))
    assert caravan(monkeypatch, "overlay", "make") == 3
    assert "3 of the 40 items" in (said := capsys.readouterr().err)
    assert "caravan overlay make --source shop --accept-changes" in said
    assert caravan(monkeypatch, "overlay", "make", "--accept-changes") == 0
