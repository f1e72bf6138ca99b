"""`caravan ingest --replace` and `caravan validate` refuse with exit code 3, and say how to go on."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from artifacts.lake import Lake
from caravan.cli import main
from contracts.exit_codes import DONE, REFUSED, WRONG_CALL
from contracts.settings import settings
from tests.fakes import MemoryStore
from tests.ingestion.builders import parquet, rows


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    store = MemoryStore()
    monkeypatch.setenv("CARAVAN_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CARAVAN_PSEUDONYM_KEY", "a key that only tests know")
    monkeypatch.setattr(Lake, "of", classmethod(lambda cls, _, source: cls(store, source, tmp_path / "cache")))

    def run(*words: str) -> int:
        monkeypatch.setattr(sys, "argv", ["caravan", *words])
        with pytest.raises(SystemExit) as ended:
            main.main()
        return int(ended.value.code or 0)

    settings.cache_clear()
    yield run
    settings.cache_clear()


def test_a_replacement_that_loses_a_day_asks(tmp_path: Path, call: object, capsys: pytest.CaptureFixture[str]) -> None:
    whole, cut = parquet(rows(60), tmp_path / "whole"), parquet(rows(6, prefix="new"), tmp_path / "cut")
    assert callable(call)
    assert call("ingest", str(whole)) == DONE
    capsys.readouterr()
    assert call("ingest", "--replace", "--json", str(cut)) == REFUSED
    said = capsys.readouterr()
    assert json.loads(said.out)["outcome"] == "refused"
    assert "2024-03-04 had 60 rows and would have 6" in said.err
    assert "--yes" in said.err
    assert call("ingest", "--replace", "--yes", str(cut)) == DONE
    assert "withdrawn 60, brought 6" in capsys.readouterr().err


def test_what_waits_is_told(tmp_path: Path, call: object, capsys: pytest.CaptureFixture[str]) -> None:
    assert callable(call)
    ahead = [r | {"event_time": datetime.now(UTC) + timedelta(hours=3)} for r in rows(5, prefix="a")]
    assert call("ingest", str(parquet(rows(20) + ahead, tmp_path / "e"))) == DONE
    assert "ahead of the clock: 5" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--correct-catalog"], ["--reason", "x"], ["--correct-catalog", "--reason", "  "]])
def test_a_correction_needs_a_reason(call: object, words: list[str]) -> None:
    assert callable(call)
    assert call("validate", "2024-03-04", *words) == WRONG_CALL
