"""A rehearsal on real regions: the standby answers as the primary does, and no shopper notices."""

from __future__ import annotations

import hashlib
import json

import pytest

from artifacts.object_store import ObjectStore
from caravan.stack.machine import EmbeddedMachine
from caravan.stack.services.object_store import store_administrator
from contracts.errors import RestoreRefused
from contracts.region import other
from contracts.settings import Settings
from recovery.drills.faults import FAULTS
from recovery.drills.rehearsal import rehearse
from recovery.region_lease.lease import RegionLease
from recovery.shipping import journal
from recovery.snapshots.create import create
from recovery.snapshots.verify import verify
from recovery.vault.bucket import LockedBucket
from recovery.vault.catalog import Catalog
from recovery.vault.vault import Vault, object_key
from tests.scenarios.lost_region import Shop, serves
from tests.waiting import until

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture
def shop(two_regions: Settings) -> Shop:
    shop = Shop(two_regions)
    shop.prepare()
    shop.act(40)
    create(two_regions, EmbeddedMachine(two_regions))
    return shop


def test_the_standby_answers_and_stays_closed(two_regions: Settings, shop: Shop) -> None:
    s, standby = two_regions, two_regions.of_region("standby")
    machines = EmbeddedMachine(standby), EmbeddedMachine(s)
    before = RegionLease.of(s).look()
    score, page = rehearse(standby, *machines, count=30)
    assert score.failures() == []
    assert score.asked > 10
    assert json.loads(page.with_suffix(".json").read_text())["different"] == 0
    assert serves(s) == shop.digest
    after = RegionLease.of(s).look()
    assert before is not None
    assert after is not None
    assert (after.region, after.epoch) == (before.region, before.epoch)

    # the other faults in turn: `make soak`, subject rehearsals
    newest = Catalog(Vault.of(s), s).newest()
    assert newest is not None
    harmed, _ = rehearse(standby, *machines, fault="newest-corrupt", count=10)
    assert harmed.failures() == []
    assert harmed.fault == FAULTS["newest-corrupt"]
    assert harmed.snapshot == newest.id  # the one that was destroyed came after it

    # an object that came between two snapshots and is gone: the older one, and what followed until the object came
    before_it = Catalog(Vault.of(s), s).newest()
    assert before_it is not None
    content = b"came between two snapshots"
    sha256 = hashlib.sha256(content).hexdigest()
    ObjectStore.of(s).put(f"blobs/{sha256}", content)

    def noted() -> bool:
        return (s.bucket, f"blobs/{sha256}") in journal.since(Vault.of(s), s, before_it.system, before_it.at, None)

    until(noted, 60, every=0.5, otherwise="the feed does not note a new object")
    without = create(s, EmbeddedMachine(s)).snapshot
    keys = store_administrator(s.of_region(other(s.region)))
    LockedBucket.administrator(s, *keys).remove(object_key(sha256))
    harmed, _ = rehearse(standby, *machines, count=10)
    assert harmed.failures() == []
    assert harmed.snapshot == before_it.id != without.id
    assert ObjectStore.of(standby).head(f"blobs/{sha256}") is None

    # the next snapshot sends it again, which makes the one before it whole too
    mended = create(s, EmbeddedMachine(s)).snapshot
    assert [verify(Vault.of(s), one, s, deep=True).problems for one in (without, mended)] == [(), ()]

    with pytest.raises(RestoreRefused, match="is the active region"):
        rehearse(s, *reversed(machines))
