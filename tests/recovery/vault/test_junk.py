"""What the vault's writer could put anywhere in the vault is passed over and told, and stops nothing."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from contracts.errors import Tampered
from contracts.region_paths import EVENT_LOG
from recovery.erasure.list_of_erased import Erasure, ErasureList
from recovery.restore.recovery_point import Point, choose, log_end
from recovery.shipping import event_log, journal, wal
from recovery.snapshots import retention, verify
from recovery.vault import vault_lock
from recovery.vault.manifest import Entry
from recovery.vault.names import Foreign
from tests.recovery.vaults import AT, SmallRegion

FILE = "2026-03-01/champion-000000.jsonl"
#: Every prefix of the vault, each with names that fit its pattern, and beside them.
FITTING = {
    "snapshots/": ["00000009.json", "99999999.json"],
    "proofs/": ["00000001-1772323200000000.json"],
    "holds/": ["primary.json"],
    "wal/7/": ["00000001/0000000000000000-FFFFFFFFFFFFFFFF", "00000001/0000000000001000-0000000000900000"],
    "journal/7/": ["1772323275000000.json", "9999999999999999.json"],
    "logs/7/": [f"{FILE}/000000000000-FFFFFFFFFFFF", f"{FILE}/000000000008-0000000000FF", "2026-03-02/x.jsonl/"],
    "erasures/": ["1772323275000000-00000000"],
    "erasure-receipts/": ["1772323275000000-00000000"],
    "objects/": ["ab/" + "ab" * 32],
    "database/7/": ["x/base-000000"],
    "rehearsals/": ["page.html"],
    "leases/": ["vault.json"],
}
BODIES = st.one_of(
    st.binary(max_size=80),
    st.sampled_from([b"", b"{}", b"[]", b"null", b"1e999", b"[" * 3000, b"CARAV1" + bytes(60), b'{"until": "soon"}']),
    st.builds(
        lambda until, host: json.dumps({"until": until, "what": "x", "host": host, "process": 1}).encode(),
        st.sampled_from([32503680000.0, 1e308]),
        st.sampled_from(["elsewhere", ""]),
    ),
)
NAMES = st.text(alphabet=st.characters(blacklist_categories=["Cs"]), min_size=1, max_size=40)
PLANTED = st.one_of(
    *[st.tuples(st.just(prefix), st.one_of(st.sampled_from(names), NAMES)) for prefix, names in FITTING.items()]
)


def entry(days: int = 0) -> Erasure:
    return Erasure(pseudonym="u_" + "1" * 32, at=AT + timedelta(days=days), by="x", reason="", region="primary")


def note(region: SmallRegion, at: datetime, number: int) -> None:
    sha256 = f"{number}" * 64
    region.vault.store.put(f"objects/{sha256[:2]}/{sha256}", b"x")
    entries = [Entry(bucket="caravan", key=f"o/{number}", size=1, etag="e", sha256=sha256)]
    journal.write_journal(region.vault, region.s, "7", at, entries)


@examples(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(planted=st.lists(st.tuples(PLANTED, BODIES), min_size=1, max_size=12))
def test_nothing_that_is_planted_anywhere_stops_or_steers_anything(
    tmp_path_factory: pytest.TempPathFactory, planted: list[tuple[tuple[str, str], bytes]]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vault_lock, "RENEW_EVERY", -1.0)
        folder = tmp_path_factory.mktemp("region")
        region, log = SmallRegion(folder), folder / EVENT_LOG / FILE
        log.parent.mkdir(parents=True)
        log.write_bytes(b"one\ntwo\n")
        event_log.ship(region.vault, "7", folder)
        listed = ErasureList(region.vault.sealer, vault=region.memory)
        listed.add(entry())
        taken = [region.snapshot(events=event_log.list_segments(region.vault, "7")) for _ in range(3)]
        for number in range(2):
            note(region, taken[-1].at + timedelta(seconds=10 + 10 * number), number)
        shipped = f"wal/7/00000001/{taken[-1].cut:016X}-{taken[-1].cut + 4096:016X}"
        region.vault.keep_sealed(b"y" * 4096, shipped)
        ours = set(region.memory.objects) - {vault_lock.KEY}
        for (prefix, name), body in planted:
            if prefix + name not in ours:
                region.memory.put(prefix + name, body)
        log.write_bytes(b"one\ntwo\nthree\n")

        event_log.ship(region.vault, "7", folder)  # the feed goes on
        assert event_log.list_segments(region.vault, "7")[-1].end == 14
        standby, told = region.s.of_region("standby"), list[str]()
        point = Point.parse("newest")
        found = choose(region.vault, standby, point, sound=lambda _one: None, tell=told.append)
        assert (found.snapshot, found.log_end) == (taken[-1], taken[-1].cut + 4096)  # a restore loses nothing
        assert found.at is None or found.at > taken[-1].at + timedelta(seconds=20)
        assert log_end(region.vault, taken[0]) >= taken[0].cut
        assert len(journal.since(region.vault, region.s, "7", taken[-1].at, found.at)) == 2
        assert verify.verify(region.vault, taken[-1], region.s, deep=True).problems == ()
        erased = ErasureList(region.vault.sealer, vault=region.memory)
        assert erased.entries() == [entry()]
        assert region.catalog.next_free() in (4, 5)
        fourth = region.snapshot(number=region.catalog.next_free(), events=taken[-1].events)
        assert region.catalog.newest() == fourth
        assert wal.list_segments(region.vault, "7", 1, fourth.backups[-1].start, fourth.cut)
        report = retention.prune(region.s, region.vault, keep=2)
        assert set(report.snapshots) == {1, 2}
        for one in (taken[2], fourth):
            assert verify.verify(region.vault, one, region.s, deep=True).problems == ()


@pytest.mark.parametrize("prefix", [name for name in FITTING if name.partition("/")[0] not in
                                    ("objects", "database", "rehearsals", "leases")])  # fmt: skip
def test_what_is_passed_over_is_told(tmp_path: Path, prefix: str) -> None:
    region = SmallRegion(tmp_path)
    region.snapshot()
    region.memory.put(f"{prefix}junk", b"junk")
    listed = ErasureList(region.vault.sealer, vault=region.memory, key_is_known=True)
    listed.entries()
    retention.prune(region.s, region.vault, keep=2, dry_run=True)
    event_log.ship(region.vault, "7", tmp_path)
    journal.since(region.vault, region.s, "7", AT, None)
    wal.pieces(region.vault, "7")
    assert f"'{prefix}junk'" in Foreign({**region.vault.foreign, **listed.foreign}).sentence()


def test_a_note_that_is_gone_or_damaged_is_told_from_one_that_was_planted(tmp_path: Path) -> None:
    region = SmallRegion(tmp_path)
    one = region.snapshot()
    times = [one.at + timedelta(seconds=10 * number) for number in range(1, 5)]
    for number, at in enumerate(times):
        note(region, at, number)
    planted = f"journal/7/{int(times[1].timestamp() * 1e6) + 1:016d}.json"
    region.memory.put(planted, region.memory.objects[f"journal/7/{int(times[0].timestamp() * 1e6):016d}.json"][:-9])
    assert journal.trusted_until(region.vault, region.s, "7", one.at, None) == (None, "")
    assert planted in region.vault.foreign
    region.memory.remove(f"journal/7/{int(times[2].timestamp() * 1e6):016d}.json")
    end, why = journal.trusted_until(region.vault, region.s, "7", one.at, None)
    assert end == times[2] - timedelta(microseconds=1)
    assert "is not in the vault" in why


def test_an_erasure_of_ours_that_is_damaged_stops_a_restore_and_a_planted_one_does_not(tmp_path: Path) -> None:
    region = SmallRegion(tmp_path)
    ErasureList(region.vault.sealer, vault=region.memory).add(entry())
    second = ErasureList(region.vault.sealer, vault=region.memory).add(entry(days=1))
    region.memory.put("erasures/1772323275000000-00000000", region.memory.objects[second])  # sealed for another name
    listed = ErasureList(region.vault.sealer, vault=region.memory)
    assert listed.entries() == [entry(), entry(days=1)]
    assert "erasures/1772323275000000-00000000" in listed.foreign
    region.memory.rot(second, 40)
    with pytest.raises(Tampered, match=second):
        ErasureList(region.vault.sealer, vault=region.memory, key_is_known=True).entries()


def test_the_day_of_an_alert_is_named_once(tmp_path: Path) -> None:
    from monitoring.alerts import read_alerts

    s = SmallRegion(tmp_path).s.model_copy(update={"home": tmp_path})
    s.paths.home.mkdir(parents=True, exist_ok=True)
    for _ in range(2):
        Foreign({"wal/7/junk": "no name of a wal"}).alert(s, now=datetime(2026, 3, 1, tzinfo=UTC))
    (alert,) = read_alerts(s)
    assert "wal/7/junk" in alert.text
