"""The engine against a real region: object store, pointer, online store."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from artifacts.object_store import ObjectStore
from artifacts.publish import point, publish
from artifacts.signature import sign
from contracts.settings import Settings
from tests.serving import live
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
