"""The primary is gone, its disk too: the standby serves the same answers, from its own store alone."""

from __future__ import annotations

import pytest

from artifacts.ledger import Ledger
from caravan.cli.airflow_api import Airflow
from caravan.stack.machine import EmbeddedMachine
from contracts.settings import Settings
from recovery.failback.failback import fail_back
from recovery.restore.options import RestoreOptions
from recovery.restore.recovery_point import Point
from recovery.restore.restore import restore
from recovery.vault.catalog import Catalog
from tests.scenarios.drill import drill, vault_of
from tests.scenarios.lost_region import logged, serves

pytestmark = [pytest.mark.stack, pytest.mark.airflow, pytest.mark.slow, pytest.mark.timeout(1800)]


def test_the_standby_answers_as_the_lost_primary_did(
    two_regions: Settings, oncall: Airflow, capsys: pytest.CaptureFixture[str]
) -> None:
    score = drill(two_regions, oncall)
    with capsys.disabled():
        print(f"\nRPO {score.rpo:.1f} s ({score.lost_rows} rows), first answer {score.first_answer:.0f} s, "
              f"all {score.full_capacity:.0f} s")  # fmt: skip
    assert score.failures() == []
    assert score.asked == 1000

    # and back, onto the empty disk
    standby = two_regions.of_region("standby")
    rows, release = Ledger.of(standby).history(), serves(standby)
    fail_back(two_regions, EmbeddedMachine(two_regions), EmbeddedMachine(standby), reason="it has a new disk")
    assert serves(two_regions, two_regions.global_edge_address) == serves(two_regions) == release
    assert {move.hash for move in rows} <= {move.hash for move in Ledger.of(two_regions).history()}
    assert logged(standby) <= logged(two_regions)


def test_a_restore_again_ends_in_the_same_state(two_regions: Settings) -> None:
    standby = two_regions.of_region("standby")
    before = [move for move in Ledger.of(standby).history() if move.to_state != "took_over"]
    found = Catalog(vault_of(standby), standby).newest()
    assert found is not None
    restore(
        standby,
        EmbeddedMachine(standby),
        Point.parse("newest"),
        RestoreOptions(reason="again", although_alive=True, although_active=True),
    )
    assert [move for move in Ledger.of(standby).history() if move.to_state != "took_over"] == before
    assert serves(standby) is not None
