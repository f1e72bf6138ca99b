"""A snapshot is visible exactly when it is whole; whatever is wrong with one is found."""

from __future__ import annotations

import json
import os
import random
import socket
import time
import tracemalloc
from pathlib import Path

import pytest

from contracts.errors import Conflict, NotWhole, RecoveryError, Tampered
from contracts.region_paths import EVENT_LOG
from recovery.restore.recovery_point import Point, choose
from recovery.shipping import event_log, objects, wal
from recovery.snapshots import references, retention, verify
from recovery.vault import vault_lock
from recovery.vault.encryption import Sealer, fingerprint, fingerprints
from recovery.vault.manifest import merkle_root
from tests.recovery.vaults import SmallRegion, settings


@pytest.fixture
def region(tmp_path: Path) -> SmallRegion:
    made = SmallRegion(tmp_path)
    made.publish("serving/primary/champion", a="one", b="two")
    made.publish("lake/shop/events/2026-03-01", a="one", c="three")
    return made


def test_what_was_written_is_read_again(region: SmallRegion) -> None:
    one = region.snapshot()
    assert region.catalog.named("newest") == one == region.catalog.named(one.id) == region.catalog.named("1")
    report = verify.verify(region.vault, one, region.s, deep=True)
    assert report.problems == ()


def test_killed_between_any_two_writes_no_snapshot_is_visible_and_the_one_before_stays(tmp_path: Path) -> None:
    steps = 0
    while True:
        region = SmallRegion(tmp_path)
        region.publish("serving/primary/champion", a="one")
        first = region.snapshot()
        region.publish("serving/primary/champion", a="two", b="three")
        region.memory.fail_after = len(region.memory.puts) + steps
        try:
            second = region.snapshot()
        except ConnectionError:
            region.memory.fail_after = None
            assert region.catalog.newest() == first
            assert verify.verify(region.vault, first, region.s, deep=True).problems == ()
            steps += 1
            continue
        assert region.catalog.newest() == second
        assert region.memory.puts[-1] == "snapshots/00000002.json"
        assert steps > 5
        return


def test_a_flipped_bit_anywhere_is_found(region: SmallRegion) -> None:
    one = region.snapshot()
    names = sorted({part.key for part in one.parts()} | {k for k in region.memory.objects if k.startswith("objects/")})
    draw = random.Random(1)
    for key in names * 3:
        kept = region.memory.objects[key], region.memory.history[key]
        region.memory.rot(key, draw.randrange(1 << 20))
        report = verify.verify(region.vault, one, region.s, deep=True)
        assert any(key in problem for problem in report.problems), key
        region.memory.objects[key], region.memory.history[key] = kept
    manifest = "snapshots/00000001.json"
    for _ in range(60):
        kept = region.memory.objects[manifest], region.memory.history[manifest]
        region.memory.rot(manifest, draw.randrange(1 << 20))
        with pytest.raises(Tampered):
            region.catalog.read(1)
        region.memory.objects[manifest], region.memory.history[manifest] = kept


def test_a_missing_file_is_found_without_reading_any(region: SmallRegion) -> None:
    one = region.snapshot()
    for part in one.parts():
        kept = region.memory.history.pop(part.key), region.memory.objects.pop(part.key)
        assert verify.verify(region.vault, one, region.s).problems, part.key
        region.memory.history[part.key], region.memory.objects[part.key] = kept


def test_what_was_written_over_or_hidden_is_read_in_its_older_version(region: SmallRegion) -> None:
    one = region.snapshot()
    for key in list(region.memory.objects):
        region.memory.put(key, b"evil")
    assert verify.verify(region.vault, one, region.s, deep=True).problems == ()
    region.memory.objects.clear()  # a delete marker on everything
    assert region.catalog.newest() == one
    assert verify.verify(region.vault, one, region.s, deep=True).problems == ()


def test_a_corrupt_newest_snapshot_is_passed_over_and_that_is_said(region: SmallRegion) -> None:
    first, second = region.snapshot(), region.snapshot()
    region.memory.rot(second.backups[0].parts[0].key, 5)
    region.memory.objects.pop(second.backups[0].manifest.key)
    region.memory.history.pop(second.backups[0].manifest.key)
    said: list[str] = []

    def sound(one: object) -> None:
        verify.demand(region.vault, one, region.s)  # type: ignore[arg-type]

    chosen = choose(
        region.vault,
        region.s.of_region("standby"),
        Point.parse("newest"),
        sound=sound,
        tell=said.append,
    )
    assert chosen.snapshot == first
    assert second.id in said[0]
    assert second.id in chosen.passed_over[0]


def test_an_unchanged_region_copies_nothing_again(region: SmallRegion) -> None:
    known = region.look()
    moved, puts = region.vault.moved, len(region.memory.puts)
    assert region.look(known) == known
    assert (region.vault.moved, len(region.memory.puts)) == (moved, puts)
    assert not objects.has_changed({"caravan": region.store}, known)
    digest = region.publish("serving/primary/champion", a="one", d="four")
    assert objects.has_changed({"caravan": region.store}, known)
    assert {e.key.split("/")[0] for e in objects.changed(known, region.look(known))} == {"blobs", "manifests", "refs"}
    assert digest


def test_an_object_that_rotted_in_the_region_is_not_taken_for_good(region: SmallRegion) -> None:
    key = next(key for key in region.store.objects if key.startswith("blobs/"))
    region.store.objects[key] = b"rotten"
    with pytest.raises(Tampered, match="what its name says"):
        region.look()


@pytest.mark.parametrize("kind", ["blobs/", "manifests/"])
def test_closure_names_what_is_missing(region: SmallRegion, kind: str) -> None:
    inventory = region.look()
    for name in [name for name in inventory if name[1].startswith(kind)]:
        less = {other: entry for other, entry in inventory.items() if other != name}
        assert references.missing(region.vault, less, "caravan", releases=(), signed=())
    assert references.missing(region.vault, inventory, "caravan", releases=(), signed=()) == []


def test_closure_asks_for_releases_that_rows_name_and_for_their_signatures(region: SmallRegion) -> None:
    digest, inventory = region.publish("serving/primary/champion", z="new"), region.look()
    wrong = references.missing(region.vault, inventory, "caravan", releases=["ab" * 32], signed=[digest])
    assert ["has no manifest" in wrong[0], "has no signature" in wrong[1]] == [True, True]
    with pytest.raises(NotWhole):
        references.demand(wrong)


def test_two_that_take_the_same_number_one_wins(region: SmallRegion) -> None:
    one = region.snapshot()
    with pytest.raises(Conflict):
        region.catalog.add(one)


def test_the_last_two_proven_snapshots_are_never_pruned(region: SmallRegion) -> None:
    taken = [region.snapshot(bytes([65 + n])) for n in range(7)]
    for one in taken[:4]:
        retention.prove(region.vault, region.s, one, {})
    report = retention.prune(region.s, region.vault, keep=2)
    assert report.kept == (7, 6, 4, 3)
    assert report.snapshots == (5, 2, 1)
    for one in (taken[2], taken[3], taken[5], taken[6]):
        assert verify.verify(region.vault, region.catalog.read(one.sequence), region.s, deep=True).problems == ()
    assert not [key for key in region.memory.objects if taken[0].backups[0].parts[0].key == key]


def test_a_proof_that_we_did_not_sign_protects_nothing(region: SmallRegion) -> None:
    one = region.snapshot()
    stranger = settings()
    retention.prove(region.vault, stranger, one, {})
    assert retention.proven(region.vault, region.s) == []


def test_a_listing_that_fails_prunes_nothing(region: SmallRegion) -> None:
    for number in range(4):
        region.snapshot(bytes([65 + number]))
    region.memory.listing_fails = True
    with pytest.raises(ConnectionError):
        retention.prune(region.s, region.vault, keep=2)
    assert region.memory.removed == []


def test_a_dry_run_prunes_nothing(region: SmallRegion) -> None:
    for number in range(4):
        region.snapshot(bytes([65 + number]))
    assert retention.prune(region.s, region.vault, keep=2, dry_run=True).snapshots == (2, 1)
    assert region.memory.removed == []


def test_nothing_is_pruned_while_a_snapshot_is_taken(region: SmallRegion) -> None:
    with vault_lock.hold(region.memory, "a snapshot"), pytest.raises(Conflict, match="a snapshot"):
        retention.prune(region.s, region.vault, keep=2)
    with vault_lock.hold(region.memory, "another"):
        pass  # it was given back


def test_the_lease_of_the_dead_runs_out(region: SmallRegion) -> None:
    elsewhere = {"what": "snapshot", "host": "another machine", "process": 1, "until": 100.0}
    region.memory.put(vault_lock.KEY, json.dumps(elsewhere).encode())
    with (
        pytest.raises(Conflict, match="another machine"),
        vault_lock.hold(region.memory, "the next", clock=lambda: 99.0),
    ):
        pass
    with vault_lock.hold(region.memory, "the next", clock=lambda: 101.0):
        pass


def test_the_lease_of_a_process_that_died_here_is_free_at_once(region: SmallRegion) -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    present = {"what": "snapshot", "host": socket.gethostname(), "process": child, "until": time.time() + 1000}
    region.memory.put(vault_lock.KEY, json.dumps(present).encode())
    with vault_lock.hold(region.memory, "the next"):
        pass


def test_sealed_parts_come_back_and_fit_only_their_names() -> None:
    s = settings()
    sealer = Sealer.of(s)
    sealed = sealer.seal(b"secret rows" * 100, "a")
    assert sealer.unseal(sealed, "a") == b"secret rows" * 100
    assert b"secret" not in sealed
    with pytest.raises(Tampered):
        sealer.unseal(sealed, "b")
    for position in range(0, len(sealed), 7):
        with pytest.raises(Tampered):
            sealer.unseal(sealed[:position] + bytes([sealed[position] ^ 1]) + sealed[position + 1 :], "a")
    with pytest.raises(Tampered):
        Sealer.of(settings()).unseal(sealed, "a")


def test_keys_rotate_and_old_parts_stay_readable() -> None:
    old, new = settings(), settings()
    assert old.snapshot_key
    assert new.snapshot_key
    both = f"{new.snapshot_key.get_secret_value()}\n{old.snapshot_key.get_secret_value()}"
    rotated = old.model_copy(update={"snapshot_key": type(old.snapshot_key)(both)})
    sealed = Sealer.of(old).seal(b"rows", "a")
    assert Sealer.of(rotated).unseal(sealed, "a") == b"rows"
    assert Sealer.of(new).unseal(Sealer.of(rotated).seal(b"rows", "a"), "a") == b"rows"
    assert fingerprint("key") == fingerprint("key\n") != fingerprint("other")


def test_a_secret_to_which_keys_were_added_is_known_by_what_it_was() -> None:
    pem = "-----BEGIN PUBLIC KEY-----\nAA\nBB\n-----END PUBLIC KEY-----"
    other = pem.replace("AA", "CC")
    for old, new in (("old", "new\nold"), ("b\na", "c\nb\na\n"), (f"{pem}\n", f"{other}\n{pem}\n")):
        assert fingerprint(old) in fingerprints(new)
        assert fingerprint(new) not in fingerprints(old)


def test_a_large_log_goes_over_in_bounded_memory(tmp_path: Path) -> None:
    region = SmallRegion(tmp_path)
    folder = tmp_path / EVENT_LOG / "2026-03-01"
    folder.mkdir(parents=True)
    line = random.Random(2).randbytes(500_000).hex().encode() + b"\n"
    (folder / "champion-000000.jsonl").write_bytes(line * 60 + b"torn")
    tracemalloc.start()
    event_log.ship(region.vault, "7", tmp_path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    kept = sum(len(data) for data in region.memory.objects.values()) * 2  # the store itself lives in memory here
    assert peak - kept < 50e6
    (folder / "champion-000000.jsonl").write_bytes(line * 60 + b"torn and ended\n")
    pieces = event_log.ship(region.vault, "7", tmp_path)
    assert pieces == {"2026-03-01/champion-000000.jsonl": len(line) * 60 + 15}
    restored = tmp_path / "restored"
    event_log.unpack(region.vault, "7", event_log.list_segments(region.vault, "7"), restored)
    again = restored / EVENT_LOG / "2026-03-01" / "champion-000000.jsonl"
    assert again.read_bytes() == line * 60 + b"torn and ended\n"


def test_what_a_snapshot_and_the_feed_both_sent_comes_back_whole(tmp_path: Path) -> None:
    region = SmallRegion(tmp_path / "region")
    folder = tmp_path / EVENT_LOG / "2026-03-01"
    folder.mkdir(parents=True)
    path, restored = folder / "champion-000000.jsonl", tmp_path / "restored"
    grown, feeds = b"", None
    for number in range(6):
        grown += b'{"n": %d, "text": "%s"}\n' % (number, b"x" * 13 * number)
        path.write_bytes(grown)
        if number % 2:
            feeds = event_log.ship(region.vault, "7", tmp_path, feeds)  # it knows only what it sent itself
        else:
            event_log.ship(region.vault, "7", tmp_path)
    event_log.unpack(region.vault, "7", event_log.list_segments(region.vault, "7"), restored)
    assert (restored / EVENT_LOG / "2026-03-01" / path.name).read_bytes() == grown


def test_log_with_a_gap_ends_at_the_gap() -> None:
    def piece(start: int, end: int, timeline: int = 1) -> wal.Piece:
        return wal.Piece(timeline=timeline, start=start, end=end, key=f"{start}")

    found = [piece(0, 10), piece(10, 30), piece(40, 50), piece(5, 12, timeline=2)]
    assert [p.end for p in wal.contiguous(found, 1, 3)] == [10, 30]
    assert wal.contiguous(found, 1, 35) == []
    # the server needs the first page of a segment file: a piece that begins there comes before one that leads farther
    both = [piece(4096, 90), piece(0, 4096 + 20), piece(4096, 9000), piece(4096 + 20, 8192)]
    assert [p.start for p in wal.contiguous(both, 1, 4096 + 4)] == [0, 4096]


def test_segments_are_laid_out_as_a_server_reads_them(tmp_path: Path) -> None:
    start = 300 * wal.SEGMENT
    data = bytes(range(256)) * 4
    names = wal.write_segments(iter([(start, data), (start + wal.SEGMENT - 512, data)]), 1, tmp_path)
    assert names == ["00000001000000010000002C", "00000001000000010000002D"]
    first = (tmp_path / names[0]).read_bytes()
    assert len(first) == wal.SEGMENT
    assert first[:1024] == data
    assert first[-512:] == data[:512]
    assert (tmp_path / names[1]).read_bytes()[:512] == data[512:]


def test_points_are_understood() -> None:
    assert Point.parse("newest").at is None
    assert Point.parse("s000012").snapshot == "s000012"
    at = Point.parse("2026-01-31T02:17").at
    assert at is not None
    assert at.isoformat() == "2026-01-31T02:17:00+00:00"
    with pytest.raises(RecoveryError, match="recovery point"):
        Point.parse("yesterday")


def test_the_root_depends_on_every_file_and_on_nothing_else() -> None:
    leaves = [(f"f{n}", n, "a" * 64) for n in range(7)]
    assert merkle_root(leaves) == merkle_root(reversed(leaves))
    roots = {merkle_root(leaves[:n]) for n in range(8)} | {merkle_root([*leaves[:6], ("f6", 7, "a" * 64)])}
    assert len(roots) == 9
