"""Sessions are cut out of events, and what cannot be replayed is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from artifacts.lake import write_table
from contracts.errors import NotEnoughData, SettingsError
from serving.replay.open_loop import run_replay
from serving.replay.plan import ReplayPlan
from serving.replay.sessions import Session, cut_sessions, read_sessions
from tests.serving.replay.recordings import table


def test_sessions_are_cut_by_id_or_by_a_pause(tmp_path: Path) -> None:
    events = table(
        (0, "u", "1", "search", "lamp"),
        (1, "v", None, "view", "a"),
        (2, "u", "1", "impression", "b"),
        (3, "u", "1", "click", "b"),
        (4, "u", "2", "view", "c"),
        (20, "v", None, "purchase", "b"),
        (60, "v", None, "view", "c"),
    )
    found = cut_sessions(events)
    assert [(session.user_id, [step.about for step in session.steps]) for session in found] == [
        ("u", ["lamp", "b"]),
        ("v", ["a", "b"]),
        ("u", ["c"]),
        ("v", ["c"]),
    ]
    write_table(events, tmp_path / "events.parquet")
    assert read_sessions([tmp_path / "events.parquet"]) == found
    write_table(table((0, "u", "1", "impression", "a")), tmp_path / "shown.parquet")
    with pytest.raises(NotEnoughData, match="nothing to replay"):
        read_sessions(tmp_path / "shown.parquet")


def test_what_cannot_be_replayed_is_refused() -> None:
    with pytest.raises(NotEnoughData):
        run_replay(ReplayPlan(url="http://x"), [Session("u", ())])
    for wrong in ({"rate": 0.0}, {"duration": -1.0}, {"follow": 1.5}, {"k": 0}, {"url": "edge"}):
        with pytest.raises(SettingsError, match=next(iter(wrong))):
            ReplayPlan(**{"url": "http://x", **wrong})  # type: ignore[arg-type]
