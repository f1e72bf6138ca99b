"""A stack with both regions, of its own, because its primary is destroyed."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts.settings import Settings, read_settings
from tests.conftest import free_offset


@pytest.fixture(scope="session")
def stack_of_two() -> Iterator[Settings]:
    """Settings of its primary; CARAVAN_TWO_REGIONS names the home of one whose primary may be destroyed."""
    from caravan.stack import down, up

    given = os.environ.get("CARAVAN_TWO_REGIONS")
    if given:
        yield read_settings(home=Path(given), port_offset=int(os.environ.get("CARAVAN_PORT_OFFSET", "0")))
        return
    home = Path(tempfile.mkdtemp(prefix="caravan-lost-"))
    home.chmod(0o711)
    s = up(read_settings(home=home, port_offset=free_offset()), regions=("primary", "standby"), control=False)
    try:
        yield s
    finally:
        down(s)
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def two_regions(stack_of_two: Settings) -> Settings:
    """Both regions run; a primary that an earlier test destroyed is made anew."""
    from caravan.stack import up

    return up(stack_of_two, regions=("primary", "standby"), control=False)
