"""Pieces of the logs that somebody wrote over or hid are read as they were; a sender that hangs is not waited for."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import NotFound, RecoveryError, Tampered
from contracts.region_paths import EVENT_LOG
from recovery.restore.database import _log
from recovery.restore.recovery_point import Chosen, Point, choose
from recovery.shipping import event_log, journal, log_pieces, objects, wal
from recovery.snapshots import verify
from recovery.vault.manifest import Entry, Part, Snapshot
from recovery.vault.vault import object_key
from tests.recovery.vaults import AT, SmallRegion

FILE = "2026-03-01/champion-000000.jsonl"


@pytest.fixture
def region(tmp_path: Path) -> SmallRegion:
    made = SmallRegion(tmp_path)
    path = tmp_path / EVENT_LOG / FILE
    path.parent.mkdir(parents=True)
    path.write_bytes(b"one\ntwo\n")
    event_log.ship(made.vault, "7", tmp_path)
    return made


def tampered(region: SmallRegion, prefix: str, *, hidden: bool) -> str:
    """Write over a piece, or lay a delete marker on it; its name."""
    key = next(key for key in region.memory.objects if key.startswith(prefix))
    if hidden:
        region.memory.delete(key)
    else:
        region.memory.put(key, b"evil")
    return key


def test_pieces_may_overlap_and_the_fewest_are_taken() -> None:
    def chosen(*spans: tuple[int, int]) -> list[tuple[int, int]]:
        return [(start, end) for start, end, _ in log_pieces.contiguous([(*span, "") for span in spans])]

    assert chosen((0, 4), (4, 6), (3, 9), (6, 12)) == [(0, 4), (3, 9), (6, 12)]
    assert chosen((0, 4), (0, 9), (4, 6)) == [(0, 9)]
    assert chosen((0, 4), (5, 9)) == [(0, 4)]
    assert chosen((4, 9)) == []


def test_a_day_that_is_over_is_kept_in_few_pieces(region: SmallRegion, tmp_path: Path) -> None:
    path, reached = tmp_path / EVENT_LOG / FILE, None
    for number in range(event_log.MOST + 5):
        path.write_bytes(path.read_bytes() + b"event %d\n" % number)
        reached = event_log.ship(region.vault, "7", tmp_path, reached)
    same_day, after = datetime(2026, 3, 1, 23, tzinfo=UTC), datetime.now(UTC) + timedelta(hours=2)
    assert event_log.merge(region.vault, "7", tmp_path, same_day) == 0
    assert len(event_log.list_segments(region.vault, "7")) > event_log.MOST
    assert event_log.merge(region.vault, "7", tmp_path, after) == 1
    assert event_log.merge(region.vault, "7", tmp_path, after) == 0
    assert len(event_log.list_segments(region.vault, "7")) == 1
    event_log.unpack(region.vault, "7", event_log.list_segments(region.vault, "7"), tmp_path / "again")
    assert (tmp_path / "again" / EVENT_LOG / FILE).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("hidden", [True, False])
def test_events_come_back(region: SmallRegion, tmp_path: Path, hidden: bool) -> None:
    tampered(region, "logs/", hidden=hidden)
    event_log.unpack(region.vault, "7", event_log.list_segments(region.vault, "7"), tmp_path / "again")
    assert (tmp_path / "again" / EVENT_LOG / FILE).read_bytes() == b"one\ntwo\n"


@pytest.mark.parametrize("own", [b"a\n", b"mine\nmy\n", b"more of mine\nand more\n"])  # shorter, as long, longer
def test_a_log_of_the_same_name_is_not_taken_for_the_one_that_comes_back(
    region: SmallRegion, tmp_path: Path, own: bytes
) -> None:
    again = tmp_path / "again"
    path = again / EVENT_LOG / FILE
    for known in (False, True):  # also after a restore, as an engine of the restored region writes on
        if known:
            path.unlink()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(own + b"." * known)
        assert event_log.unpack(region.vault, "7", event_log.list_segments(region.vault, "7"), again) == 8
        assert path.read_bytes() == b"one\ntwo\n"
    aside = [kept.read_bytes() for kept in again.glob(f"{EVENT_LOG}.before-*/{FILE}")]
    assert own + b"." in aside


def test_only_what_came_since_is_fetched_again(region: SmallRegion, tmp_path: Path) -> None:
    again, path = tmp_path / "again", tmp_path / EVENT_LOG / FILE
    assert event_log.unpack(region.vault, "7", event_log.list_segments(region.vault, "7"), again) == 8
    assert event_log.unpack(region.vault, "7", event_log.list_segments(region.vault, "7"), again) == 0
    path.write_bytes(path.read_bytes() + b"three\n")
    event_log.ship(region.vault, "7", tmp_path)
    assert event_log.unpack(region.vault, "7", event_log.list_segments(region.vault, "7"), again) == 6
    assert (again / EVENT_LOG / FILE).read_bytes() == b"one\ntwo\nthree\n"
    assert not list(again.glob(f"{EVENT_LOG}.before-*"))

    other = SmallRegion(tmp_path / "other")
    event_log.unpack(other.vault, "8", (), again)
    assert not list((again / EVENT_LOG).glob("*/*.jsonl"))  # it was the log of another database


@pytest.mark.parametrize("hidden", [True, False])
def test_the_log_of_the_database_comes_back(region: SmallRegion, hidden: bool) -> None:
    one = region.snapshot()
    tampered(region, "wal/", hidden=hidden)
    assert wal.list_segments(region.vault, "7", 1, one.backups[-1].start, one.cut) == tuple(
        segment.__class__(of="wal/00000001", start=segment.start, end=segment.end, part=segment.part)
        for segment in one.log
    )
    chosen = Chosen(snapshot=one, exact=True, at=None, log_end=one.cut)
    assert list(_log(region.vault, chosen, print)) == [(one.backups[-1].start, b"x" * 4096)]


def test_what_no_version_of_unseals_is_told_and_sent_again(region: SmallRegion, tmp_path: Path) -> None:
    key = next(key for key in region.memory.objects if key.startswith("logs/"))
    region.memory.rot(key, 40)
    assert event_log.list_segments(region.vault, "7") == ()
    assert key in region.vault.foreign
    event_log.ship(region.vault, "7", tmp_path)
    assert [segment.end for segment in event_log.list_segments(region.vault, "7")] == [8]
    assert not region.vault.foreign


def test_a_note_that_was_written_over_is_read_as_it_was(region: SmallRegion) -> None:
    entry = Entry(bucket="caravan", key="refs/x.json", size=1, etag="e", sha256="a" * 64)
    journal.write_journal(region.vault, region.s, "7", AT, [entry])
    tampered(region, "journal/", hidden=False)
    found = journal.since(region.vault, region.s, "7", datetime(2026, 1, 1, tzinfo=UTC), None)
    assert found == {("caravan", "refs/x.json"): entry}


def noted(region: SmallRegion, at: datetime, content: bytes) -> str:
    """A note of an object that is in the vault; the name of its copy there."""
    sha256 = hashlib.sha256(content).hexdigest()
    region.vault.keep(sha256, content)
    entry = Entry(bucket="caravan", key=f"blobs/{sha256}", size=len(content), etag="e", sha256=sha256)
    journal.write_journal(region.vault, region.s, "7", at, [entry])
    return object_key(sha256)


def chosen(region: SmallRegion, point: str, told: list[str]) -> Chosen:
    def sound(snapshot: Snapshot) -> None:
        verify.demand(region.vault, snapshot, region.s)

    standby = region.s.of_region("standby")
    return choose(region.vault, standby, Point.parse(point), sound=sound, tell=told.append)


@pytest.mark.parametrize(
    "damage", ["the note", "an object gone", "an object of another size", "found while it was read"]
)
def test_a_restore_ends_before_a_note_that_can_not_be_trusted(region: SmallRegion, damage: str) -> None:
    one, told = region.snapshot(), list[str]()
    times = [one.at + timedelta(seconds=seconds) for seconds in (10, 20, 30)]
    copies = [noted(region, at, b"object %d" % number) for number, at in enumerate(times)]
    assert (chosen(region, "newest", told).at, told) == (None, [])
    if damage == "the note":
        region.memory.rot(f"journal/7/{int(times[1].timestamp() * 1e6):016d}.json", 30)
    elif damage == "an object gone":
        region.memory.remove(copies[1])
    elif damage == "an object of another size":
        region.memory.remove(copies[1])
        region.memory.put(copies[1], b"short")
    else:  # a listing cannot tell
        region.memory.rot(copies[1], 3)
        assert chosen(region, "newest", told).at is None
        with pytest.raises(Tampered):
            region.vault.read(Part(key=copies[1], size=8, sha256=copies[1].rpartition("/")[2]))
    found = chosen(region, "newest", told)
    assert (found.snapshot, found.at) == (one, times[1] - timedelta(microseconds=1))
    assert found.cut_short
    assert found.cut_short in told[0]
    assert len(journal.since(region.vault, region.s, "7", one.at, found.at)) == 1
    # what was asked for lies before it
    before = one.at + timedelta(seconds=15)
    assert (chosen(region, before.isoformat(), told).at, len(told)) == (before, 1)


def test_an_object_that_only_the_newest_snapshot_has_costs_that_snapshot_and_no_more(region: SmallRegion) -> None:
    first, told = region.snapshot(), list[str]()
    region.publish("serving/primary/champion", a="another", d="model")
    before, after = region.catalog.newest(), region.look()
    assert before == first
    at = first.at + timedelta(seconds=10)
    fresh = objects.changed(objects.read_inventory(region.vault, first.objects.inventory), after)
    journal.write_journal(region.vault, region.s, "7", at, fresh)
    second = region.snapshot()
    doomed = next(entry for entry in fresh if entry.key.startswith("blobs/"))
    region.memory.remove(object_key(doomed.sha256))
    found = chosen(region, "newest", told)
    assert (found.snapshot, found.at) == (first, at - timedelta(microseconds=1))
    assert second.id in found.passed_over[0]


def test_a_piece_of_the_event_log_that_is_damaged_or_gone_leaves_its_place_blank(
    region: SmallRegion, tmp_path: Path
) -> None:
    told = list[str]()
    path, reached = tmp_path / EVENT_LOG / FILE, None
    for number in range(4):
        path.write_bytes(path.read_bytes() + b"event %d\n" % number)
        reached = event_log.ship(region.vault, "7", tmp_path, reached)
    known = event_log.list_segments(region.vault, "7")[:-2]
    keys = [key for _, _, key in log_pieces.pieces(region.vault, "7")[FILE]]
    region.memory.rot(keys[-2], 40)  # after the snapshot
    region.memory.remove(keys[-4])  # known to the snapshot
    left, again = event_log.list_segments(region.vault, "7", known, lenient=True), tmp_path / "again"
    with pytest.raises(NotFound):
        event_log.unpack(region.vault, "7", left, tmp_path / "strict")
    assert event_log.unpack(region.vault, "7", left, again, tell=told.append) == path.stat().st_size
    assert (again / EVENT_LOG / FILE).read_bytes() == b"one\ntwo\n       \nevent 1\n       \nevent 3\n"
    assert [FILE in sentence for sentence in told] == [True, True]


def test_what_other_pieces_have_of_a_damaged_one_is_not_lost(region: SmallRegion, tmp_path: Path) -> None:
    told = list[str]()
    path, reached = tmp_path / EVENT_LOG / FILE, None
    for number in range(3):
        path.write_bytes(path.read_bytes() + b"event %d\n" % number)
        reached = event_log.ship(region.vault, "7", tmp_path, reached)
    small = log_pieces.pieces(region.vault, "7")[FILE]
    event_log._send(region.vault, f"logs/7/{FILE}", path, 0)  # once more in one piece, as of a day that is over
    (whole,) = event_log.list_segments(region.vault, "7")
    region.memory.rot(whole.part.key, 40)
    region.memory.rot(small[-2][2], 40)
    event_log.unpack(region.vault, "7", [whole], tmp_path / "again", tell=told.append)
    assert (tmp_path / "again" / EVENT_LOG / FILE).read_bytes() == b"one\ntwo\nevent 0\n       \nevent 2\n"
    assert "bytes 16 to 24" in told[0]


def test_a_piece_that_was_sent_again_serves_snapshots_from_before(region: SmallRegion, tmp_path: Path) -> None:
    before = event_log.list_segments(region.vault, "7")
    region.memory.rot(before[0].part.key, 40)
    assert event_log.repair(region.vault, "7", tmp_path, before, before) == {before[0].part.key}
    event_log.unpack(region.vault, "7", before, tmp_path / "again", tell=lambda text: pytest.fail(text))
    assert (tmp_path / "again" / EVENT_LOG / FILE).read_bytes() == b"one\ntwo\n"


def test_after_the_cut_the_log_ends_before_a_piece_that_is_lost_and_that_is_said(region: SmallRegion) -> None:
    one, told = region.snapshot(), list[str]()
    keys = []
    for number in range(3):
        start = one.cut + 4096 * number
        keys.append(f"wal/7/00000001/{start:016X}-{start + 4096:016X}")
        region.vault.keep_sealed(bytes([number]) * 4096, keys[-1])
    region.memory.rot(keys[1], 50)
    chosen = Chosen(snapshot=one, exact=False, at=None, log_end=one.cut + 3 * 4096)
    found = list(_log(region.vault, chosen, told.append))
    assert [start for start, _ in found] == [one.backups[-1].start, one.cut]
    assert told[0].startswith(f"the log ends at {one.cut + 4096:X}")
    region.memory.rot(one.log[0].part.key, 50)  # what the snapshot itself lists must be there
    with pytest.raises(Tampered):
        list(_log(region.vault, chosen, told.append))


@pytest.fixture
def mute() -> Iterator[Any]:
    """A connection over which nothing comes."""
    reading, writing = os.pipe()

    class Cursor:
        def fileno(self) -> int:
            return reading

        def read_message(self) -> None: ...

        def send_feedback(self, **_: object) -> None: ...

    yield Cursor()
    os.close(reading)
    os.close(writing)


def test_a_snapshot_does_not_wait_for_ever_for_a_database_that_hangs(
    mute: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wal, "SILENCE", 0.3)
    shipper = wal.Shipper.__new__(wal.Shipper)
    with pytest.raises(RecoveryError, match="sends no log"):
        shipper._stream(mute, 0, lambda: False, until=4096)
