"""A small count of what `make soak` runs to ten thousand and more."""

from __future__ import annotations

import pytest

from tests.faults import fuzz_requests


@pytest.mark.slow
def test_no_500_no_hang_nothing_executed() -> None:
    assert fuzz_requests.run(seed=0, count=300).failures == []
