"""Alerts are appended whole, and read back in order."""

from __future__ import annotations

import json
import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from typer.testing import CliRunner

from caravan.cli.main import app
from contracts.settings import Settings, read_settings
from monitoring import alerts


@pytest.fixture
def s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    found = read_settings(home=tmp_path)
    found.paths.home.mkdir(parents=True)
    monkeypatch.setattr("caravan.cli.alerts.settings", lambda: found)
    return found


def test_many_at_once_and_none_is_torn(s: Settings) -> None:
    assert alerts.read_alerts(s) == []
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: alerts.tell(s, part="tests", severity="info", text=f"{n} é\n" * 50), range(100)))
    found = alerts.read_alerts(s)
    assert {alert.text.split()[0] for alert in found} == {str(n) for n in range(100)}
    with s.paths.alerts.open("a") as file:
        file.write('{"at": "2026-')
    assert alerts.read_alerts(s) == found


def test_an_alert_that_cannot_be_written_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    nowhere = read_settings(home=tmp_path / "nowhere")
    with caplog.at_level(logging.WARNING):
        alerts.tell(nowhere, part="releases", severity="critical", text="prices are wrong")
    assert "prices are wrong" in caplog.text
    assert "could not be written" in caplog.text


def test_the_command_lists_the_newest(s: Settings) -> None:
    assert CliRunner().invoke(app, ["alerts"]).output == "no alerts\n"
    for n in range(3):
        alerts.tell(s, part="releases", severity="critical", text=f"number {n} [bold]")
    text = CliRunner().invoke(app, ["alerts", "--last", "2"]).output
    assert "number 0" not in text
    assert "number 2 [bold]" in text
    assert [a["text"][:8] for a in json.loads(CliRunner().invoke(app, ["alerts", "--json"]).output)] == [
        "number 0", "number 1", "number 2",
    ]  # fmt: skip
