"""A small count of what `make soak` runs with a large one."""

from __future__ import annotations

import pytest

from contracts.settings import Settings
from tests.faults import promotion_race


@pytest.mark.stack
@pytest.mark.slow
def test_of_racing_promoters_one_wins_and_the_chain_holds(stack: Settings) -> None:
    assert promotion_race.run(seed=0, count=20, s=stack).failures == []
