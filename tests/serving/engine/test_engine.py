"""One release at a time: refused when anything is wrong with it, swapped without a failed request."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from artifacts.publish import Store, blob_key, point, publish
from artifacts.signature import new_signing_key, sign, verify
from contracts import release as files
from contracts.errors import ReleaseRefused, StoreUnavailable
from contracts.settings import Settings
from serving.engine.engine import Engine, Follower
from tests.conftest import REPOSITORY
from tests.fakes import MemoryStore
from tests.serving.parts import FakeReader, client, load, parts_of

REF = "serving/primary/champion"


class Region:
    """A store with releases, and an engine that follows the pointer when told to."""

    def __init__(self, folder: Path) -> None:
        self.store = MemoryStore()
        self.folder = folder
        self.engine = Engine()
        self.settings = Settings(signing_key=new_signing_key())
        self.follower = self.start(self.engine)

    def start(self, engine: Engine) -> Follower:
        return Follower(
            engine,
            lambda: self.store,
            REF,
            trust=self.trust,
            cache=self.folder / "cache",
            memory=self.folder / "engine" / "champion.json",
            poll_s=0.01,
        )

    def trust(self, store: Store, digest: str) -> None:
        verify(store, digest, self.settings)

    def release(self, directory: Path, *, kind: str = "release", signed: bool = True) -> str:
        digest = publish(self.store, directory, kind=kind, meta={"source": "shop"}).digest
        if signed:
            sign(self.store, digest, self.settings)
        point(self.store, REF, digest)
        return digest


@pytest.fixture
def region(tmp_path: Path) -> Region:
    return Region(tmp_path)


def serves(engine: Engine) -> str | None:
    return engine.current and engine.current.digest


def test_the_engine_follows_the_pointer(region: Region, bundle: Path, other_bundle: Path) -> None:
    region.follower.step()
    assert not region.engine.ready
    assert region.engine.state.reason
    assert "does not exist" in region.engine.state.reason
    first = region.release(bundle)
    region.follower.step()
    assert (serves(region.engine), region.engine.state.stage) == (first, "serving")
    second = region.release(other_bundle)
    region.follower.step()
    assert serves(region.engine) == second
    point(region.store, REF, first)
    region.follower.step()
    assert serves(region.engine) == first


def damage_blob(region: Region, digest: str, directory: Path) -> None:
    import hashlib

    key = blob_key(hashlib.sha256((directory / files.ITEM_VECTORS).read_bytes()).hexdigest())
    body = bytearray(region.store.objects[key])
    body[-1] ^= 1
    region.store.objects[key] = bytes(body)


def test_a_flipped_byte_in_the_store_is_refused_and_the_old_release_serves_on(
    region: Region, bundle: Path, other_bundle: Path
) -> None:
    first = region.release(bundle)
    region.follower.step()
    second = region.release(other_bundle)
    damage_blob(region, second, other_bundle)
    for _ in range(3):
        region.follower.step()
    state = region.engine.state
    assert (serves(region.engine), region.engine.ready, state.refused) == (first, True, second)
    assert state.reason is not None
    assert files.ITEM_VECTORS in state.reason
    point(region.store, REF, first)
    region.follower.step()
    assert serves(region.engine) == first


def test_a_refused_release_is_tried_again_when_the_pointer_comes_back(
    region: Region, bundle: Path, other_bundle: Path
) -> None:
    first = region.release(bundle)
    region.follower.step()
    second = region.release(other_bundle)
    whole = dict(region.store.objects)
    damage_blob(region, second, other_bundle)
    region.follower.step()
    assert region.engine.state.refused == second
    region.store.objects = whole
    point(region.store, REF, first)
    region.follower.step()
    assert region.engine.state.refused is None
    point(region.store, REF, second)
    region.follower.step()
    assert serves(region.engine) == second


def test_a_byte_that_rots_in_the_cache_is_fetched_anew(region: Region, bundle: Path, other_bundle: Path) -> None:
    first = region.release(bundle)
    region.follower.step()
    region.release(other_bundle)
    region.follower.step()
    rotten = region.folder / "cache" / first / files.POPULAR
    rotten.write_text(rotten.read_text() + " ")
    point(region.store, REF, first)
    region.follower.step()
    assert serves(region.engine) == first
    assert not rotten.read_text().endswith(" ")


def truncate_program(directory: Path) -> None:
    path = directory / files.SEQUENCE_PROGRAM
    path.write_bytes(path.read_bytes()[:-100])


def poison_vectors(directory: Path) -> None:
    vectors = np.load(directory / files.ITEM_VECTORS)
    vectors[7] = np.nan
    np.save(directory / files.ITEM_VECTORS, vectors)


def lose_rows(directory: Path) -> None:
    np.save(directory / files.ITEM_VECTORS, np.load(directory / files.ITEM_VECTORS)[:-1])


def widen(directory: Path) -> None:
    vectors = np.load(directory / files.ITEM_VECTORS)
    np.save(directory / files.ITEM_VECTORS, np.hstack([vectors, vectors]))


def empty_popular(directory: Path) -> None:
    (directory / files.POPULAR).write_text(json.dumps({"all": ["not in the catalog"]}))


def pickle_inside(directory: Path) -> None:
    np.save(directory / files.ITEM_BIAS, np.array([{"a": 1}], dtype=object), allow_pickle=True)


def other_index(directory: Path) -> None:
    from retrieval.bm25 import BM25Index

    shutil.rmtree(directory / files.BM25)
    BM25Index.build(["one text"]).save(directory / files.BM25)


def no_catalog(directory: Path) -> None:
    (directory / files.ITEMS).unlink()


@pytest.mark.parametrize(
    "damage",
    [truncate_program, poison_vectors, lose_rows, widen, empty_popular, pickle_inside, other_index, no_catalog],
)
def test_a_release_whose_parts_do_not_fit_is_refused(
    region: Region, bundle: Path, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    first = region.release(bundle)
    region.follower.step()
    broken = tmp_path / "broken"
    shutil.copytree(bundle, broken)
    damage(broken)
    digest = region.release(broken)
    region.follower.step()
    state = region.engine.state
    assert (serves(region.engine), region.engine.ready, state.refused) == (first, True, digest)
    assert state.reason


def test_something_else_than_a_release_is_refused(region: Region, bundle: Path) -> None:
    digest = region.release(bundle, kind="model")
    region.follower.step()
    assert not region.engine.ready
    assert region.engine.state.refused == digest


def test_an_unsigned_release_is_refused_and_the_old_one_keeps_serving(
    region: Region, bundle: Path, other_bundle: Path
) -> None:
    first = region.release(bundle)
    region.follower.step()
    unsigned = region.release(other_bundle, signed=False)
    region.follower.step()
    assert serves(region.engine) == first
    assert region.engine.state.refused == unsigned
    assert "not signed" in str(region.engine.state.reason)


def test_without_the_object_store_the_engine_starts_with_what_it_served_last(region: Region, bundle: Path) -> None:
    first = region.release(bundle)
    region.follower.step()

    def gone() -> MemoryStore:
        raise StoreUnavailable("the object store does not answer", remedy="")

    engine = Engine()
    follower = Follower(
        engine,
        gone,
        REF,
        trust=region.trust,
        cache=region.folder / "cache",
        memory=region.folder / "engine" / "champion.json",
        poll_s=0.01,
    )
    follower.start()
    for _ in range(500):
        if engine.ready:
            break
        threading.Event().wait(0.01)
    follower.stop()
    follower.join(timeout=5)
    assert serves(engine) == first


def test_loading_a_broken_folder_says_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(ReleaseRefused, match="cannot be served"):
        Engine().load(tmp_path, digest="0" * 64, meta={"source": "shop"})


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_no_request_fails_while_releases_are_swapped(tmp_path: Path, bundle: Path, other_bundle: Path) -> None:
    reader = FakeReader()
    reader.know("anna", ["i-00005"])
    with parts_of(tmp_path, reader=reader) as parts:
        digests = {load(parts, bundle)}
        done = threading.Event()

        def swap() -> None:
            try:
                for number in range(10):
                    digests.add(load(parts, (other_bundle, bundle)[number % 2]))
            finally:
                done.set()

        seen: set[str] = set()
        thread = threading.Thread(target=swap)
        async with client(parts) as http:
            thread.start()
            while not done.is_set():
                answers = await asyncio.gather(
                    http.post("/recommend", json={"user_id": "anna"}),
                    http.get("/search", params={"q": "lamp"}),
                    http.get("/similar/i-00001"),
                )
                assert [answer.status_code for answer in answers] == [200, 200, 200]
                seen |= {answer.json()["release"] for answer in answers}
        thread.join()
        assert len(digests) == 2
        assert seen == digests


def test_serving_needs_neither_torch_nor_training(bundle: Path) -> None:
    program = f"""
import sys
from pathlib import Path
import serving.__main__, serving.bootstrap, serving.edge.edge
from serving.engine.engine import Engine
Engine().load(Path({str(bundle)!r}), digest="0" * 64, meta={{"source": "shop"}})
loaded = {{name.split(".")[0] for name in sys.modules}}
forbidden = {{"torch", "training", "transformers", "mlflow", "airflow", "feast", "pandas"}} & loaded
sys.exit(f"imported: {{sorted(forbidden)}}" if forbidden else 0)
"""
    subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, check=True, timeout=120)


@pytest.mark.parametrize("how", ["of nobody", "of a key that was withdrawn", "of another release", "not plain data"])
def test_what_was_remembered_serves_only_while_its_signature_is_trusted(
    region: Region, bundle: Path, other_bundle: Path, how: str
) -> None:
    from artifacts.manifest import Manifest

    region.release(bundle)
    region.follower.step()
    memory = region.folder / "engine" / "champion.json"
    if how == "of a key that was withdrawn":
        region.settings = Settings(signing_key=new_signing_key())
    elif how == "not plain data":
        planted = region.folder / "planted"
        shutil.copytree(bundle, planted)
        pickle_inside(planted)
        digest = region.release(planted)  # signed, as by a step that did not look
        shutil.copytree(planted, region.folder / "cache" / digest)
        memory.write_bytes(Manifest.describe(planted, kind="release", meta={"source": "shop"}).to_bytes())
        signature = region.store.get(f"signatures/{digest}.json")
        memory.with_name("champion.json.signature").write_bytes(signature)
    else:  # another bundle in the cache, with a manifest of its own
        manifest = Manifest.describe(other_bundle, kind="release", meta={"source": "shop"})
        shutil.copytree(other_bundle, region.folder / "cache" / manifest.digest)
        memory.write_bytes(manifest.to_bytes())
        if how == "of nobody":
            memory.with_name("champion.json.signature").unlink()

    def gone() -> MemoryStore:
        raise StoreUnavailable("the object store does not answer", remedy="")

    engine, cache = Engine(), region.folder / "cache"
    Follower(engine, gone, REF, trust=region.trust, cache=cache, memory=memory).look()
    assert engine.current is None
