"""A small count of what `make soak` runs to a hundred thousand."""

from __future__ import annotations

from tests.faults import event_doors


def test_an_event_gets_the_same_verdict_at_every_door() -> None:
    assert event_doors.run(seed=0, count=600).failures == []
