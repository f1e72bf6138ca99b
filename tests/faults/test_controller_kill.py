"""A killed controller, a few times; `make soak` runs many more."""

from __future__ import annotations

import pytest

from contracts.settings import Settings
from tests.faults import controller_kill


@pytest.mark.stack
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_killed_controller_is_followed_by_one_that_goes_on(stack: Settings) -> None:
    assert controller_kill.run(seed=0, count=10, s=stack).failures == []
