"""A small count of what `make soak` runs with a large one."""

from __future__ import annotations

import pytest

from contracts.settings import Settings
from tests.faults import materializer_kill


@pytest.mark.stack
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_killed_materializer_leaves_whole_rows_and_converges(stack: Settings) -> None:
    assert materializer_kill.run(seed=0, count=2, s=stack).failures == []
