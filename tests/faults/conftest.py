"""What tests of faults share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from contracts.settings import Settings
from tests.scenarios.live_canary import LiveCanary


@pytest.fixture(scope="module")
def shop(stack: Settings) -> Iterator[LiveCanary]:
    """A shop of its own in the region, with a champion."""
    it = LiveCanary(stack)
    with it.controlled():
        it.champion()
        yield it
