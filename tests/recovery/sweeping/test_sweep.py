"""The sweeper takes what is old and named by nobody, of every kind, and never anything that is named."""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from artifacts.object_store import Stored
from artifacts.publish import fetch, manifest_key, point, publish, read_manifest, resolve
from artifacts.signature import signature_key
from contracts.errors import Conflict, RecoveryError
from contracts.settings import Settings, read_settings
from recovery.file_lock import hold
from recovery.sweeping import sweep as sweeping
from recovery.sweeping.objects import find_objects, remove_objects
from recovery.sweeping.sweep import SweepReport
from tests.fakes import MemoryStore

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
OLD, YOUNG = NOW - timedelta(days=15), NOW - timedelta(days=13)


class TimedStore(MemoryStore):
    """A bucket that knows when each object was written, by a clock that the test sets."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = OLD
        self.times: dict[str, datetime] = {}

    def put(self, key: str, body: bytes | Path, *, if_absent: bool = False, if_match: str | None = None) -> Stored:
        self.times[key] = self.clock
        return super().put(key, body, if_absent=if_absent, if_match=if_match)

    def list(self, prefix: str) -> Iterator[Stored]:
        for stored in super().list(prefix):
            yield replace(stored, at=self.times[stored.key])


def published(store: TimedStore, *texts: str, origin: str = "") -> str:
    with tempfile.TemporaryDirectory() as folder:
        for number, text in enumerate(texts):
            (Path(folder) / f"{number}.json").write_text(text)
        digest = publish(store, Path(folder), kind="model", meta={"origin": origin}).digest
    store.put(signature_key(digest), b"signature")
    return digest


@pytest.fixture
def s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    from contextlib import nullcontext

    monkeypatch.setattr(sweeping, "_vault_lock", lambda _s: nullcontext(lambda: None))
    return read_settings(home=tmp_path)


def planted(path: Path, at: datetime) -> Path:
    """A file of ten bytes, last written then, in a folder of that age."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"0123456789")
    for place in (path, path.parent):
        os.utime(place, (at.timestamp(), at.timestamp()))
    return path


def go(s: Settings, store: TimedStore, *, apply: bool, named: set[str] | None = None) -> SweepReport:
    return sweeping.sweep(s, now=NOW, apply=apply, named=lambda _s: named or set(), store=store)


def test_files_of_every_kind_go_when_they_are_old_and_only_when_asked_to(s: Settings) -> None:
    store, memory = TimedStore(), s.paths.engine / "champion.json"
    kept = published(store, "served")
    point(store, "serving/primary/champion", kept)
    remembered = read_manifest(store, published(store, "remembered"))
    memory.parent.mkdir(parents=True)
    memory.write_bytes(remembered.to_bytes())
    old = [
        planted(s.cache / "objects" / ("a" * 64) / "x.parquet", OLD),
        planted(s.cache / "releases" / ("b" * 64) / "x.onnx", OLD),
        planted(s.cache / "objects" / ".incoming-1" / "half", OLD),
        planted(s.paths.training / "shop" / "key" / "checkpoint.safetensors", OLD),
        planted(s.home / "control" / "airflow" / "logs" / "dag_id=nightly" / "1.log", OLD),
    ]
    stay = [
        planted(s.cache / "objects" / kept / "x.parquet", OLD),
        planted(s.cache / "releases" / remembered.digest / "x.onnx", OLD),
        planted(s.cache / "releases" / ("c" * 64) / "x.onnx", OLD),
        planted(s.cache / "objects" / ("d" * 64) / "x.parquet", YOUNG),
        planted(s.paths.training / "shop" / "other" / "checkpoint.safetensors", YOUNG),
        planted(s.paths.training / "shop" / "key" / "job.json", OLD),
        planted(s.home / "control" / "airflow" / "logs" / "dag_id=nightly" / "2.log", YOUNG),
        planted(s.paths.event_log / "2026-01-01" / "champion-0.jsonl", OLD),
        planted(s.paths.postgres / "data" / "PG_VERSION", OLD),
        planted(s.home / "secrets" / "caravan_signing_key", OLD),
    ]
    named = {"c" * 64}
    dry = go(s, store, apply=False, named=named)
    assert all(path.is_file() for path in [*old, *stay])
    assert dry.number == {
        "copies of objects": 1, "copies of releases": 1, "staging": 1, "checkpoints": 1, "task logs": 1,
    }  # fmt: skip
    assert go(s, store, apply=True, named=named).number == dry.number
    assert [path for path in old if path.exists()] == []
    assert [path for path in stay if not path.is_file()] == []


def test_a_copy_that_is_used_is_not_old(s: Settings) -> None:
    store = TimedStore()
    digest = published(store, "replaced")
    copy = fetch(store, digest, s.cache / "objects")
    os.utime(copy, (OLD.timestamp(), OLD.timestamp()))
    fetch(store, digest, s.cache / "objects")
    go(s, store, apply=True)
    assert copy.is_dir()


@examples(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1 << 30))
def test_whatever_is_named_stays_whole_and_whatever_is_not_goes(seed: int) -> None:
    draw, store = random.Random(seed), TimedStore()
    made: list[str] = []
    ages: dict[str, bool] = {}
    for number in range(12):
        store.clock = draw.choice([OLD, YOUNG])
        origin = draw.choice(["", *made])
        texts = [draw.choice("abcdef") for _ in range(3)] + [f"own {number}"]
        made.append(published(store, *texts, origin=origin))
        ages[made[-1]] = store.clock is OLD
    for number, digest in enumerate(draw.sample(made, 3)):
        point(store, f"models/shop/{number}", digest)
    named = set(draw.sample(made, 2))
    pointers = [resolve(store, f"models/shop/{number}") for number in range(3)]
    keep, waiting = set(), [*named, *filter(None, pointers)]
    while waiting:
        digest = waiting.pop()
        keep.add(digest)
        if origin := read_manifest(store, digest).meta["origin"]:
            waiting.append(str(origin))

    def find() -> dict[str, int]:
        return find_objects(store, named, NOW - timedelta(days=14))

    remove_objects(store, find(), find, lambda: None)
    with tempfile.TemporaryDirectory() as cache:
        for digest in made:
            if digest in keep or not ages[digest]:
                fetch(store, digest, Path(cache))  # whole: every file is there
            else:
                assert store.head(manifest_key(digest)) is None
    left = {key for digest in keep for key in (manifest_key(digest), signature_key(digest))}
    assert left <= store.objects.keys()


def test_what_somebody_publishes_again_meanwhile_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    store = TimedStore()
    first = published(store, "shared", "own")
    delete, again = store.delete, list[str]()

    def deleting(key: str) -> None:
        delete(key)
        if key.startswith("blobs/") and not again:
            again.append("")
            monkeypatch.undo()
            again[0] = published(store, "shared", "another")  # of which a part is gone by now, or goes next

    def find() -> dict[str, int]:
        return find_objects(store, set(), NOW)

    monkeypatch.setattr(store, "delete", deleting)
    remove_objects(store, find(), find, lambda: None)
    with tempfile.TemporaryDirectory() as cache:
        assert fetch(store, again[0], Path(cache)).is_dir()
    assert store.head(manifest_key(first)) is None


def test_without_the_database_nothing_is_swept_and_that_is_told(s: Settings) -> None:
    def down(_s: Settings) -> set[str]:
        raise RecoveryError("the database does not answer", remedy="start it")

    store = TimedStore()
    published(store, "nobody's")
    path = planted(s.cache / "releases" / ("b" * 64) / "x.onnx", OLD)
    report = sweeping.sweep(s, now=NOW, apply=True, named=down, store=store)
    assert report.undone.keys() == {"files", "objects"}
    assert path.is_file()
    assert len([key for key in store.objects if key.startswith("manifests/")]) == 1


def test_two_sweepers_do_not_work_at_once(s: Settings) -> None:
    with hold(s.paths.home / "sweep.lock", lambda _who: None), pytest.raises(Conflict, match="another sweeper"):
        go(s, TimedStore(), apply=True)
