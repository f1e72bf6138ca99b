"""The primary is gone, its disk too: the standby serves the same answers, from its own store alone."""

from __future__ import annotations

import json
import time

import pytest

from artifacts.ledger import Ledger
from artifacts.object_store import ObjectStore
from artifacts.publish import fetch, resolve
from caravan.cli.airflow_api import Airflow
from caravan.stack.machine import EmbeddedMachine
from contracts.settings import Settings
from recovery import retention, verify
from recovery.catalog import Catalog
from recovery.point import Point
from recovery.restore import restore, state_file
from recovery.snapshot import create
from recovery.vault import Vault, kept_here
from tests.scenarios.lost_region import Shop, asked, lose, resolved, serves, writing
from tests.scenarios.nights import complaints, ended

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.timeout(1800)]
REQUESTS = 1000


def test_the_standby_answers_as_the_lost_primary_did(
    two_regions: Settings, oncall: Airflow, capsys: pytest.CaptureFixture[str]
) -> None:
    s = two_regions
    standby = s.model_copy(update={"region": "standby"})
    shop = Shop(s)
    shop.prepare()
    shop.act(60)
    first = create(s, EmbeddedMachine(s))
    second = create(s, EmbeddedMachine(s))
    report = verify.verify(Vault.of(s), second.snapshot, s, deep=True)
    assert not report.problems
    shop.act(60)  # after the snapshot: only the feed has these
    before, names = asked(s, REQUESTS), resolved(s, shop.source)
    assert {release for release, _ in before} == {shop.digest}
    assert names["champion"] == shop.digest == names["challenger"]
    time.sleep(10)
    with writing(s) as acknowledged:
        time.sleep(8)
        lost_at = lose(s)
    assert len(acknowledged) > 10

    conf = {"region": "standby", "to": "newest", "reason": "the primary is gone", "although_alive": False}
    run = ended(oncall, oncall.trigger("recover", conf, note="at 3 a.m."), "recover")
    assert run["state"] == "success", complaints(oncall, run["dag_run_id"], "recover")
    assert serves(standby) == shop.digest == serves(standby, standby.global_edge_address)
    recovered_at = time.time()
    steps_of = json.loads(state_file(standby).read_text())["steps"]

    assert asked(standby, REQUESTS) == before
    ledger = Ledger.of(standby)
    kept = ledger.verify()
    newest = max((at for at, sequence in acknowledged if sequence <= kept), default=0.0)
    rpo, rows = lost_at - newest, sum(sequence > kept for _, sequence in acknowledged)
    assert resolved(standby, shop.source) == names
    assert retention.proven(Vault.of(s), s)[0] == second.snapshot.sequence
    store = ObjectStore.of(standby)
    assert resolve(store, "serving/standby/champion") == shop.digest
    for digest in {names["champion"], names["v1"]}:
        fetch(store, digest, standby.cache / "checked")
    with capsys.disabled():
        steps = ", ".join(f"{name} {about['seconds']:.0f}" for name, about in steps_of.items())
        print(
            f"\nRPO {rpo:.1f} s ({rows} of {len(acknowledged)} rows lost), RTO {recovered_at - lost_at:.0f} s "
            f"({steps}); first snapshot {first.moved / 1e6:.1f} MB in {first.seconds:.1f} s, "
            f"second {second.moved / 1e6:.3f} MB ({100 * second.moved / max(report.size, 1):.2f} %)"
        )
    assert rpo <= 60
    assert recovered_at - lost_at <= 300


def test_a_restore_again_ends_in_the_same_state(two_regions: Settings) -> None:
    standby = two_regions.model_copy(update={"region": "standby"})
    before = Ledger.of(standby).history()
    found = Catalog(Vault.of(kept_here(standby)), standby).newest()
    assert found is not None
    restore(standby, EmbeddedMachine(standby), Point.parse("newest"), reason="again", although_alive=True)
    assert Ledger.of(standby).history() == before
    assert serves(standby) is not None
