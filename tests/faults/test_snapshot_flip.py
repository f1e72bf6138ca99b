"""A small count of what `make soak` does with a large one."""

from __future__ import annotations

from tests.faults.snapshot_flip import run


def test_every_flipped_bit_is_detected() -> None:
    assert run(seed=0, count=60).failures == []
