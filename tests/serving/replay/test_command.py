"""`caravan replay`: its report, its defaults, Ctrl-C, and where it sends the shop's key."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
from pathlib import Path

import pytest
from aiohttp import web
from typer.testing import CliRunner

from artifacts.lake import write_table
from caravan.cli import replay as replay_command
from caravan.cli.main import app
from caravan.cli.replay import newest_events
from contracts.errors import NotFound
from contracts.settings import read_settings
from tests.serving.replay.fake_edge import RELEASE, FakeEdge, serving
from tests.serving.replay.recordings import table
from tests.waiting import until


def test_the_command_reports_and_writes_json(tmp_path: Path) -> None:
    rows = [(n / 10, f"u-{n % 7}", f"s-{n % 7}", "view", f"i-{n}") for n in range(40)]
    write_table(table(*rows), tmp_path / "events.parquet")
    out = tmp_path / "report" / "replay.json"
    with serving(FakeEdge(items=lambda *_: [f"i-{n}" for n in range(20)])) as edge:
        words = ["replay", "--events", str(tmp_path / "events.parquet"), "--url", edge.url, "--rate", "60"]
        result = CliRunner().invoke(app, [*words, "--duration", "1", "--json", str(out)], catch_exceptions=False)
        edge.disturb = lambda *_: asyncio.sleep(0, web.Response(status=500))
        failed = CliRunner().invoke(app, [*words, "--duration", "0.3", "--fail-on-error"])
    assert result.exit_code == 0, result.output
    assert "7 sessions of 7 shoppers" in result.output
    assert RELEASE[:12] in result.output
    assert failed.exit_code == 1
    report = json.loads(out.read_text())
    (answers,) = [found for found in report["rows"] if found["route"] == "recommend"]
    assert answers["hits"] == answers["events"]["click"]
    assert report["latency_ms"]["p99"] > 0


def test_ctrl_c_ends_early_and_reports(tmp_path: Path) -> None:
    write_table(table((0, "u", "1", "view", "a"), (1, "v", "2", "view", "a")), tmp_path / "events.parquet")

    def interrupt() -> None:
        until(lambda: len(edge.seen) >= 5, 20)
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with serving(FakeEdge()) as edge:
        thread = threading.Thread(target=interrupt, daemon=True)
        thread.start()
        words = ["replay", "--events", str(tmp_path / "events.parquet"), "--url", edge.url]
        result = CliRunner().invoke(app, [*words, "--duration", "120"], catch_exceptions=False)
    assert result.exit_code == 0
    assert RELEASE[:12] in result.output
    assert signal.getsignal(signal.SIGINT) is before


def test_the_newest_generated_shop_is_the_default(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="caravan shop generate"):
        newest_events(tmp_path / "demo")
    for day in range(1, 10):
        path = tmp_path / "demo" / "shop" / "events" / f"2026-01-0{day}.parquet"
        write_table(table((0, "u", "1", "view", "a")), path)
    assert [path.stem for path in newest_events(tmp_path / "demo")] == [f"2026-01-0{day}" for day in range(3, 10)]


def test_the_shops_key_goes_to_our_own_edges_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "shop_key_shop").write_text("secret")
    s = read_settings(home=tmp_path)
    monkeypatch.setattr(replay_command, "settings", lambda: s)
    assert replay_command.key_for(None) == "secret"
    for ours in (s.edge_address, s.global_edge_address, f"{s.edge_address_of('standby')}/"):
        assert replay_command.key_for(ours) == "secret"
    for other in ("http://127.0.0.1:9999", "https://elsewhere.example", f"{s.edge_address}.example"):
        assert replay_command.key_for(other) is None
