"""A directory is visible whole or not at all, whatever dies on the way."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from artifacts.lake import Lake
from artifacts.publish import VERIFIED, blob_key, fetch, point, publish, read_manifest, refs, resolve
from contracts.errors import Conflict, NotFound, Tampered
from tests.fakes import MemoryStore


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "out"
    (root / "sub").mkdir(parents=True)
    (root / "data.parquet").write_bytes(b"rows")
    (root / "sub" / "more").write_bytes(b"more")
    return root


def test_published_bytes_come_back_and_a_second_time_writes_nothing(folder: Path, tmp_path: Path) -> None:
    store = MemoryStore()
    manifest = publish(store, folder, kind="partition")
    written = len(store.puts)
    assert publish(store, folder, kind="partition").digest == manifest.digest
    assert len(store.puts) == written
    copy = fetch(store, manifest.digest, tmp_path / "cache")
    assert (copy / "sub" / "more").read_bytes() == b"more"


@pytest.mark.parametrize("puts", [0, 1, 2])
def test_a_death_at_any_put_leaves_nothing_visible(folder: Path, puts: int) -> None:
    store = MemoryStore()
    lake = Lake(store, "shop", folder.parent / "cache")
    store.fail_after = puts
    with pytest.raises(ConnectionError):
        lake.publish("events", "2026-01-01", folder)
    assert not [k for k in store.objects if k.startswith(("manifests/", "refs/"))]
    store.fail_after = None
    lake.publish("events", "2026-01-01", folder)
    assert lake.partitions("events") == ["2026-01-01"]


def test_a_flipped_byte_is_refused_by_name_and_leaves_no_copy(folder: Path, tmp_path: Path) -> None:
    store = MemoryStore()
    manifest = publish(store, folder, kind="release")
    entry = next(f for f in manifest.files if f.path == "sub/more")
    store.objects[blob_key(entry.sha256)] = b"mord"
    with pytest.raises(Tampered, match="sub/more"):
        fetch(store, manifest.digest, tmp_path / "cache")
    assert not (tmp_path / "cache" / manifest.digest).exists()


def test_a_copy_is_never_taken_from_those_who_read_it(folder: Path, tmp_path: Path) -> None:
    """Many fetch one digest at once; each finds its file there, however the others' renames fall."""
    store, cache = MemoryStore(), tmp_path / "cache"
    digest = publish(store, folder, kind="partition").digest

    def fetched(_: int) -> bytes:
        copy = fetch(store, digest, cache)
        return b"".join((copy / "data.parquet").read_bytes() for _ in range(50))

    for _ in range(20):
        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(fetched, range(8))) == {b"rows" * 50}
        shutil.rmtree(cache)


def test_a_copy_whose_removal_was_cut_off_is_brought_again(folder: Path, tmp_path: Path) -> None:
    store, cache = MemoryStore(), tmp_path / "cache"
    digest = publish(store, folder, kind="partition").digest
    copy = fetch(store, digest, cache)
    (cache / f"{digest}{VERIFIED}").unlink()
    (copy / "data.parquet").unlink()
    assert (fetch(store, digest, cache) / "data.parquet").read_bytes() == b"rows"
    assert sorted(path.name for path in cache.iterdir()) == sorted([digest, f"{digest}{VERIFIED}"])


def test_a_changed_manifest_is_refused(folder: Path) -> None:
    store = MemoryStore()
    digest = publish(store, folder, kind="release").digest
    key = next(k for k in store.objects if k.startswith("manifests/"))
    store.objects[key] = store.objects[key].replace(b'"release"', b'"relaese"')
    with pytest.raises(Tampered):
        read_manifest(store, digest)


def test_a_pointer_moves_by_compare_and_set(folder: Path) -> None:
    store = MemoryStore()
    first = publish(store, folder, kind="release", meta={"n": 1}).digest
    second = publish(store, folder, kind="release", meta={"n": 2}).digest
    assert point(store, "serving/primary/champion", first, expected=None)
    assert not point(store, "serving/primary/champion", first)
    with pytest.raises(Conflict):
        point(store, "serving/primary/champion", second, expected=None)
    with pytest.raises(Conflict):
        point(store, "serving/primary/champion", second, expected=second[::-1])
    assert point(store, "serving/primary/champion", second, expected=first)
    assert resolve(store, "serving/primary/champion") == second
    assert list(refs(store, "serving/primary")) == ["serving/primary/champion"]


def test_nothing_can_point_at_what_is_not_published() -> None:
    with pytest.raises(NotFound):
        point(MemoryStore(), "serving/primary/champion", "0" * 64)


def test_a_lake_answers_for_ranges_and_names_what_is_missing(folder: Path, tmp_path: Path) -> None:
    lake = Lake(MemoryStore(), "shop", tmp_path / "cache")
    for day in ("2026-01-01", "2026-01-02", "2026-01-04"):
        lake.publish("events", day, folder)
    assert [p.name for p in lake.files("events", "2026-01-02", "2026-01-03")] == ["data.parquet"]
    with pytest.raises(NotFound, match="2026-01-03"):
        lake.fetch("events", "2026-01-03")
