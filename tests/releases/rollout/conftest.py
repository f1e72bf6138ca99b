"""A region that is a folder, with a ledger and a controller of its own."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from artifacts.ledger import Ledger
from contracts.settings import Settings
from releases.rollout.controller import Controller
from tests.releases.fake_region import FolderRegion, approved, own_database
from tests.releases.rollout.canary import A, ticks


@pytest.fixture
def engine(stack: Settings) -> Iterator[Engine]:
    with own_database(stack, f"controller_{uuid.uuid4().hex[:8]}") as engine:
        yield engine


@pytest.fixture
def ledger(engine: Engine) -> Ledger:
    return Ledger(engine, "primary")


@pytest.fixture
def region(stack: Settings, tmp_path: Path) -> FolderRegion:
    return FolderRegion(tmp_path, stack)


@pytest.fixture
def controller(ledger: Ledger, engine: Engine, region: FolderRegion) -> Controller:
    """With the champion A in place."""
    controller = region.controller(ledger, engine)
    approved(ledger, "shop", A)
    ticks(controller)
    assert ledger.state("shop", A) == "champion"
    ticks(controller, 2)
    return controller
