"""The engine against a real region: object store, pointer, online store."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from artifacts.lake import Lake
from artifacts.object_store import ObjectStore
from artifacts.publish import point, publish, resolve
from artifacts.signature import sign
from contracts.settings import Settings
from ingestion.landing.land import land
from ingestion.pseudonymize import Pseudonymizer
from ingestion.validation.validate import validate_day
from tests.ingestion.builders import NOW, catalog, parquet, rows
from tests.serving import live
from tests.serving.tiny_release import item_id
from tests.waiting import until


def wait_release(url: str, digest: str) -> dict[str, object]:
    return wait_state(url, "release", digest)


def wait_state(url: str, name: str, value: str, seconds: float = 60) -> dict[str, object]:
    """Wait until the engine says so of itself, and return all that it says."""

    def state() -> dict[str, object]:
        return dict(httpx.get(f"{url}/readyz").json())

    until(
        lambda: state()[name] == value, seconds, every=0.1, otherwise=lambda: f"{name} is not {value[:12]}: {state()}"
    )
    return state()


@pytest.mark.stack
def test_a_release_is_followed_from_the_store_to_the_answer(stack: Settings, bundle: Path, other_bundle: Path) -> None:
    slot = f"test-{uuid.uuid4().hex[:8]}"
    ref = f"serving/{stack.region}/{slot}"
    store = ObjectStore.of(stack)
    first, second = (
        publish(store, one, kind="release", meta={"source": slot}).digest for one in (bundle, other_bundle)
    )
    for digest in (first, second):
        sign(store, digest, stack)
    with live.following(stack, slot) as running:
        waiting = httpx.get(f"{running.url}/readyz")
        assert (waiting.status_code, waiting.json()["ready"]) == (503, False)
        point(store, ref, first)
        assert wait_release(running.url, first)["ready"] is True
        event = {
            "event_id": uuid.uuid4().hex,
            "event_time": datetime.now(UTC).isoformat(),
            "user_id": "anna",
            "kind": "view",
            "item_id": "i-00001",
        }
        taken = httpx.post(f"{running.url}/events", json={"events": [event]}).json()
        assert (taken["accepted"], taken["online"]) == (1, True)
        answer = httpx.post(f"{running.url}/recommend", json={"user_id": "anna"}).json()
        assert (answer["fallback"], answer["release"]) == (False, first)
        assert answer["items"][0]["category"] == "home/office"
        point(store, ref, second)
        wait_release(running.url, second)
        bad = publish(store, bundle, kind="something else", meta={"source": slot}).digest
        point(store, ref, bad)
        state = wait_state(running.url, "refused", bad, 20)
        assert (state["ready"], state["release"], state["refused"]) == (True, second, bad)
    store.delete(f"refs/{ref}.json")


def ids(url: str, path: str, **asked: object) -> set[str]:
    """Everything that a route answers."""
    answer = httpx.post(f"{url}{path}", json=asked) if path == "/recommend" else httpx.get(f"{url}{path}", params=asked)  # type: ignore[arg-type]
    assert answer.status_code == 200, answer.text
    return {item["item_id"] for item in answer.json()["items"]}


def land_catalog(s: Settings, source: str, folder: Path, *, sold_out: set[str], night: bool = False) -> None:
    """Land a catalog of the tiny release's items, as `caravan ingest` does; `night` pins it, too."""
    lake, key = Lake.of(s, source), Pseudonymizer(s.secret("pseudonym_key"))
    items = [{"item_id": n, "title": n, "available": n not in sold_out} for n in map(item_id, range(60))]
    events = [parquet(rows(12), folder / "events")] if night else []
    land(lake, events, catalog(folder / "catalog.jsonl", items), pseudonymizer=key, now=NOW)
    if night:
        validate_day(lake, "2024-03-04")


@pytest.mark.stack
def test_bought_stays_hidden_and_sold_out_is_gone_without_a_release(
    stack: Settings, bundle: Path, tmp_path: Path
) -> None:
    slot = f"test-{uuid.uuid4().hex[:8]}"
    ref = f"serving/{stack.region}/{slot}"
    store = ObjectStore.of(stack)
    digest = publish(store, bundle, kind="release", meta={"source": slot}).digest
    sign(store, digest, stack)
    land_catalog(stack, slot, tmp_path, sold_out={item_id(3), item_id(8)}, night=True)
    with live.following(stack, slot) as running:
        point(store, ref, digest)
        wait_release(running.url, digest)
        at = datetime.now(UTC)
        for kinds in (["purchase"], ["view"] * 300):
            events = [
                {
                    "event_id": uuid.uuid4().hex,
                    "event_time": (at + timedelta(milliseconds=n)).isoformat(),
                    "user_id": "buyer",
                    "kind": kind,
                    "item_id": item_id(5 if kind == "purchase" else 10 + n % 40),
                }
                for n, kind in enumerate(kinds, start=len(kinds))
            ]
            taken = httpx.post(f"{running.url}/events", json={"events": events}, timeout=10).json()
            assert taken["accepted"] == len(kinds)
            until(lambda: item_id(5) not in ids(running.url, "/recommend", user_id="buyer", k=100), 10)
        assert item_id(5) in ids(running.url, "/recommend", user_id="buyer", k=100, hide_purchased=False)

        everywhere = {
            "/recommend": {"user_id": "somebody", "k": 100},
            "/search": {"q": "walnut compact desk chair lamp kettle", "k": 100},
            "/similar": {"item_id": item_id(11), "k": 100},
        }
        before = {path: ids(running.url, path, **asked) for path, asked in everywhere.items()}
        assert all(item_id(6) in shown for shown in before.values()), before
        land_catalog(stack, slot, tmp_path, sold_out={item_id(6)})  # and nobody has to do anything else
        until(lambda: item_id(6) not in ids(running.url, "/similar", **everywhere["/similar"]), 60)
        for path, asked in everywhere.items():
            assert item_id(6) not in ids(running.url, path, **asked)
        assert item_id(3) in ids(running.url, "/similar", **everywhere["/similar"])  # can be had again
        state = httpx.get(f"{running.url}/readyz").json()
        assert (state["release"], state["overlay"]) == (digest, resolve(store, f"overlays/{slot}"))
        land_catalog(stack, slot, tmp_path, sold_out=set())
        until(lambda: item_id(6) in ids(running.url, "/search", **everywhere["/search"]), 60)
    store.delete(f"refs/{ref}.json")
