"""What tests of releases share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from artifacts.ledger import Ledger
from contracts.settings import Settings
from tests.releases.own_ledger import own_ledger


@pytest.fixture
def ledger(stack: Settings) -> Iterator[Ledger]:
    with own_ledger(stack) as found:
        yield found
