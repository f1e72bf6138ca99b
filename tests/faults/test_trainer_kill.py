"""A killed trainer, a few times; `make soak` runs many more."""

from __future__ import annotations

import pytest

from tests.faults import trainer_kill


@pytest.mark.slow
def test_a_killed_trainer_resumes_and_ends_with_the_same_weights() -> None:
    assert trainer_kill.run(seed=0, count=2).failures == []
