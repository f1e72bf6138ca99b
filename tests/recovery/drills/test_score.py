"""What a drill has shown: the figures decide, and the page says it without anything from elsewhere."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from recovery.drills import rehearsal
from recovery.drills.probe_queries import Question, recorded
from recovery.drills.report import Score, page, read_scores, table, write_score
from tests.recovery.region_lease.test_active import region

GOOD = Score(
    kind="drill", fault="everything <killed>", at=datetime(2026, 3, 1, 2, 17, tzinfo=UTC), region="standby",
    snapshot="s000002", epoch=2, rpo=1.8, first_answer=72.4, full_capacity=80.0, lost_rows=17, lost_events=0,
    asked=1000, different=0, corrupt=0, human_actions=1,
    steps={"database": {"said": "a chain & <more>", "seconds": 30.0}, "edge": {"said": "ok", "seconds": 0.2}},
)  # fmt: skip


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rpo": 61.0}, "61 s of writes"),
        ({"first_answer": 301.0}, "after 301 s"),
        ({"different": 1}, "1 of 1000"),
        ({"lost_events": 3}, "3 events"),
        ({"corrupt": 2}, "2 files"),
        ({"asked": 0}, "nothing was asked"),
        ({"problems": ("an alias",)}, "an alias"),
    ],
)
def test_each_figure_can_fail_it(change: dict[str, Any], said: str) -> None:
    assert GOOD.failures() == []
    assert any(said in failure for failure in replace(GOOD, **change).failures())


def test_the_page_stands_alone_and_escapes_what_it_shows() -> None:
    shown = page(GOOD)
    assert "everything &lt;killed&gt;" in shown
    assert "a chain &amp; &lt;more&gt;" in shown
    assert not re.search(r"https?://|src=|@import", shown)
    assert 'class="well"' in shown
    assert 'class="ill"' in page(replace(GOOD, different=3))


def test_what_is_kept_is_found_again(tmp_path: Path) -> None:
    write_score(GOOD, tmp_path)
    write_score(replace(GOOD, at=datetime(2026, 3, 2, tzinfo=UTC), different=4), tmp_path)
    facts = read_scores(tmp_path)
    assert [one["different"] for one in facts] == [4, 0]
    rows = table(facts).splitlines()
    assert len(rows) == 4
    assert rows[2].endswith("| 1000 of 1000 | 17 | yes |")


def test_a_rehearsal_that_is_too_long_ago_is_told(tmp_path: Path) -> None:
    s = region(tmp_path, "primary")
    assert "no rehearsal" in str(rehearsal.overdue(s))
    write_score(GOOD, rehearsal.folder(s))
    assert rehearsal.overdue(s, datetime(2026, 3, 8, tzinfo=UTC)) is None
    assert "10 days ago" in str(rehearsal.overdue(s, datetime(2026, 3, 11, 3, tzinfo=UTC)))


def test_questions_are_the_newest_sessions_and_searches(tmp_path: Path) -> None:
    (tmp_path / "2026-03-01").mkdir()
    rows = [{"kind": "view", "user_id": "a", "item_id": f"i{n}", "query": None} for n in range(8)]
    rows += [{"kind": "search", "user_id": "b", "item_id": None, "query": "lamp"}] * 2
    rows += [{"kind": "impression", "user_id": "c", "item_id": "i1", "query": None}]
    lines = [json.dumps(row) for row in rows]
    (tmp_path / "2026-03-01" / "e-0.jsonl").write_text("\n".join([*lines, '{"torn'])[:-1])
    assert set(recorded(tmp_path, 10)) == {Question(words="lamp"), Question(items=("i3", "i4", "i5", "i6", "i7"))}
    assert len(recorded(tmp_path, 1)) == 1
