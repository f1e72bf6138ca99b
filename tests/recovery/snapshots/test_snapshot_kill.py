"""A small count of what `make soak` does with a large one."""

from __future__ import annotations

import pytest

from contracts.settings import Settings
from tests.faults.snapshot_kill import run


@pytest.mark.stack
@pytest.mark.slow
def test_a_killed_snapshotter_leaves_the_one_before(two_regions: Settings) -> None:
    assert run(seed=0, count=4, s=two_regions).failures == []
