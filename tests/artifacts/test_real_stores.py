"""The same promises on the real object store and the real registry."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from artifacts.object_store import MULTIPART_BYTES, ObjectStore
from artifacts.publish import fetch, point, publish, resolve
from artifacts.registry import Registry, mlflow_client
from contracts.errors import Conflict, NotFound, StoreUnavailable
from contracts.settings import Settings, read_settings

pytestmark = pytest.mark.stack


@pytest.fixture
def store(stack: Settings) -> ObjectStore:
    store = ObjectStore.of(stack)
    store.ensure_bucket()
    return store


def test_large_and_small_files_travel_whole(store: ObjectStore, tmp_path: Path) -> None:
    folder = tmp_path / "big"
    folder.mkdir()
    (folder / "large.bin").write_bytes(uuid.uuid4().bytes * (MULTIPART_BYTES // 16 + 1000))
    (folder / "small.bin").write_bytes(b"small")
    manifest = publish(store, folder, kind="test")
    manifest.verify(fetch(store, manifest.digest, tmp_path / "cache"))


def test_of_racing_writers_exactly_one_wins(store: ObjectStore, tmp_path: Path) -> None:
    ref = f"test/{uuid.uuid4().hex}"
    digests = []
    for number in range(8):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "n").write_text(f"{ref}{number}")
        digests.append(publish(store, folder, kind="test").digest)

    def promote(digest: str) -> bool:
        try:
            return point(store, ref, digest, expected=None)
        except Conflict:
            return False

    with ThreadPoolExecutor(8) as pool:
        won = [d for d, ok in zip(digests, pool.map(promote, digests), strict=True) if ok]
    assert won == [resolve(store, ref)]


def test_a_missing_object_and_a_missing_store_are_told_apart(store: ObjectStore, stack: Settings) -> None:
    with pytest.raises(NotFound, match="nowhere"):
        store.get("nowhere")
    assert store.head("nowhere") is None
    dead = stack.model_copy(update={"s3_endpoint": "http://127.0.0.1:1"})
    with pytest.raises(StoreUnavailable, match="127.0.0.1:1"):
        list(ObjectStore.of(dead).list("refs/"))


def test_a_run_ends_without_mlflows_own_words(stack: Settings, capfd: pytest.CaptureFixture[str]) -> None:
    client = mlflow_client(stack)
    run = client.create_run(client.create_experiment(f"quiet-{uuid.uuid4().hex[:8]}")).info.run_id
    client.set_terminated(run)
    assert capfd.readouterr() == ("", "")


def test_one_digest_is_one_version(stack: Settings) -> None:
    source = f"test-{uuid.uuid4().hex[:8]}"
    client = mlflow_client(stack)
    experiment = client.create_experiment(source)
    run = client.create_run(experiment).info.run_id
    registry = Registry.of(stack)
    first = registry.register(source, "a" * 64, run_id=run, metrics={"ndcg_at_10": 0.5}, tags={"day": "2026-01-01"})
    again = registry.register(source, "a" * 64, run_id=run, metrics={"ndcg_at_10": 0.5}, tags={"day": "2026-01-01"})
    other = registry.register(source, "b" * 64, run_id=run, metrics={}, tags={})
    assert (first, again, other) == (1, 1, 2)
    assert registry.alias(source, "champion") is None
    registry.set_alias(source, "champion", 2)
    found = registry.alias(source, "champion")
    assert found is not None
    assert (found.number, found.digest) == (2, "b" * 64)
    assert [v.number for v in registry.versions(source)] == [1, 2]


def test_the_registry_lets_nobody_in_without_the_password(stack: Settings) -> None:
    import httpx

    answer = httpx.get(f"{stack.mlflow_address}/api/2.0/mlflow/experiments/search?max_results=1", timeout=10)
    assert answer.status_code == 401
    assert read_settings(home=stack.home).secret("mlflow_password") not in {"", "password", "password1234", "admin"}
