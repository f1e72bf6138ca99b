"""What is damaged in the vault is uploaded again with the next snapshot, instead of missing from every one to come."""

from __future__ import annotations

from pathlib import Path

import pytest

from contracts.errors import Tampered
from contracts.region_paths import EVENT_LOG
from recovery.restore.recovery_point import Point, choose
from recovery.shipping import event_log, log_pieces, objects
from recovery.snapshots import retention, verify
from recovery.snapshots.parent_check import ParentCheck, check_parent
from recovery.vault import presence
from recovery.vault.manifest import Snapshot
from recovery.vault.vault import object_key, part_of
from tests.recovery.vaults import SmallRegion

FILE = "2026-03-01/champion-000000.jsonl"


@pytest.fixture
def region(tmp_path: Path) -> SmallRegion:
    made = SmallRegion(tmp_path)
    made.publish("serving/primary/champion", a="one", b="two")
    path = tmp_path / EVENT_LOG / FILE
    path.parent.mkdir(parents=True)
    reached = None
    for line in (b"one\n", b"two\n", b"three\n"):
        with path.open("ab") as file:
            file.write(line)
        reached = event_log.ship(made.vault, "7", tmp_path, reached)
    return made


def base(region: SmallRegion, parent: Snapshot | None, *, deep: bool, told: list[str] | None = None) -> ParentCheck:
    vault = type(region.vault)(region.memory, region.vault.sealer)  # another process, which knows of nothing
    region.vault = vault
    return check_parent(vault, parent, region.folder, deep=deep, tell=(told if told is not None else []).append)


def mended(region: SmallRegion, found: ParentCheck) -> objects.Inventory:
    return objects.list_buckets({"caravan": region.store}, region.vault, found.objects, region.folder)


def whole(region: SmallRegion, one: Snapshot) -> bool:
    return verify.verify(region.vault, one, region.s, deep=True).problems == ()


def an_object(region: SmallRegion) -> str:
    return next(key for key in region.memory.objects if key.startswith("objects/"))


def test_nothing_is_sent_again_when_all_is_whole(region: SmallRegion) -> None:
    one, told = region.snapshot(), list[str]()
    found = base(region, one, deep=False, told=told)
    assert found.objects == mended(region, found) == objects.read_inventory(region.vault, one.objects.inventory)
    assert (found.backups, found.events) == (one.backups, one.events)
    assert (region.vault.moved, told) == (0, [])
    assert base(region, None, deep=True) == ParentCheck(objects={})


def test_an_object_that_is_gone_goes_over_again(region: SmallRegion) -> None:
    one, told = region.snapshot(), list[str]()
    region.memory.remove(an_object(region))
    assert not whole(region, one)
    mended(region, base(region, one, deep=False, told=told))
    assert whole(region, one)
    assert "1 files are damaged" in told[0]


def test_an_object_that_rotted_is_found_by_a_deep_look_and_goes_over_again(region: SmallRegion) -> None:
    one = region.snapshot()
    region.memory.rot(an_object(region), 3)
    mended(region, base(region, one, deep=False))
    assert not whole(region, one)  # by size it is there
    mended(region, base(region, one, deep=True))
    assert whole(region, one)


def test_a_deep_look_believes_no_copy_that_the_snapshot_before_does_not_list(region: SmallRegion) -> None:
    one = region.snapshot()
    digest = region.publish("serving/primary/champion", a="new")
    copied = region.look().values()  # by the feed, after the snapshot
    region.memory.rot(object_key(next(e.sha256 for e in copied if digest in e.key)), 3)
    inventory = mended(region, base(region, one, deep=True))
    assert not presence.damaged(region.vault, [part_of(entry) for entry in inventory.values()], deep=True)


@pytest.mark.parametrize("rotten", [True, False])
def test_without_the_list_of_objects_all_are_looked_at(region: SmallRegion, rotten: bool) -> None:
    one, key = region.snapshot(), region.snapshot().objects.inventory.key
    if rotten:
        region.memory.rot(key, 9)
    else:
        region.memory.remove(key)
    found = base(region, one, deep=False)
    assert found.objects == {}
    objects.keep_inventory(region.vault, mended(region, found))
    assert whole(region, one)


def test_no_backup_is_built_upon_a_chain_with_a_hole(region: SmallRegion) -> None:
    one = region.snapshot()
    region.memory.remove(one.backups[0].parts[0].key)
    assert base(region, one, deep=False).backups == ()


def with_log(region: SmallRegion) -> Snapshot:
    return region.snapshot(events=event_log.list_segments(region.vault, "7"))


def test_a_rotten_piece_of_the_event_log_is_sent_again_from_the_regions_file(region: SmallRegion) -> None:
    one = with_log(region)
    region.memory.rot(one.events[1].part.key, 30)
    found = base(region, one, deep=True)
    events = event_log.list_segments(region.vault, "7", found.events)
    assert [segment.end for segment in events] == [4, 8, 14]
    event_log.unpack(region.vault, "7", events, region.folder / "again")
    assert (region.folder / "again" / EVENT_LOG / FILE).read_bytes() == b"one\ntwo\nthree\n"


def test_so_is_one_that_no_snapshot_lists_yet(region: SmallRegion) -> None:
    one = region.snapshot()
    region.memory.rot(log_pieces.pieces(region.vault, "7")[FILE][1][2], 30)
    assert len(event_log.list_segments(region.vault, "7", base(region, one, deep=False).events)) == 1
    assert len(event_log.list_segments(region.vault, "7", base(region, one, deep=True).events)) == 3


def test_a_piece_that_the_region_has_no_more_stays_named_and_is_no_reason_to_lose_the_region(
    region: SmallRegion,
) -> None:
    one, told = with_log(region), list[str]()
    region.memory.remove(one.events[1].part.key)
    (region.folder / EVENT_LOG / FILE).unlink()
    assert base(region, one, deep=True).events == one.events

    def sound(event_log: bool) -> None:
        choose(
            region.vault, region.s.of_region("standby"), Point.parse("newest"),
            sound=lambda snapshot: verify.demand(region.vault, snapshot, region.s, event_log=event_log),
            tell=told.append,
        )  # fmt: skip

    sound(event_log=False)
    assert told == []
    with pytest.raises(Tampered, match=one.events[1].part.key):
        verify.demand(region.vault, one, region.s)


def test_a_snapshot_whose_list_is_lost_can_be_pruned(region: SmallRegion) -> None:
    taken = []
    for number in range(3):
        region.publish("serving/primary/champion", a=f"{number}")
        taken.append(region.snapshot(bytes([65 + number])))
    region.memory.remove(taken[0].objects.inventory.key)
    assert retention.prune(region.s, region.vault, keep=2).snapshots == (1,)
    assert [whole(region, one) for one in taken[1:]] == [True, True]
