"""The engine is pointed at a release, waited for, and a release it refuses is taken back."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from caravan_airflow.deployment import Standing, switch
from hypothesis import given
from hypothesis import strategies as st

from artifacts.publish import publish, resolve
from contracts.errors import ReleaseRefused, ServingError
from contracts.settings import Settings
from tests.fakes import MemoryStore

SLOT = "serving/primary/champion"


@contextmanager
def engine(answer: Callable[[], dict[str, Any]]) -> Iterator[str]:
    """A server whose /readyz says what `answer` says at that moment."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = answer()
            self.send_response(200 if body.get("ready") else 503)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def release(store: MemoryStore, folder: Path, content: str) -> str:
    folder.mkdir(exist_ok=True)
    (folder / "model").write_text(content)
    return publish(store, folder, kind="release").digest


def settings_at(url: str, home: Path) -> Settings:
    return Settings(home=home, engine_url=url)


def test_the_pointer_moves_and_the_engine_serves(store: MemoryStore, tmp_path: Path) -> None:
    first, second = (release(store, tmp_path / "r", text) for text in "ab")
    with engine(lambda: {"ready": True, "release": resolve(store, SLOT)}) as url:
        s = settings_at(url, tmp_path)
        assert switch(s, store, first, patience=5)
        assert not switch(s, store, first, patience=5)
        assert switch(s, store, second, patience=5)
    assert resolve(store, SLOT) == second


def test_a_refused_release_is_taken_back(store: MemoryStore, tmp_path: Path) -> None:
    good, bad = (release(store, tmp_path / "r", text) for text in "ab")

    def answer() -> dict[str, Any]:
        wanted = resolve(store, SLOT)
        refused = bad if wanted == bad else None
        return {"ready": True, "release": good, "refused": refused, "reason": "vectors have another length"}

    with engine(answer) as url:
        s = settings_at(url, tmp_path)
        switch(s, store, good, patience=5)
        with pytest.raises(ReleaseRefused, match="vectors have another length"):
            switch(s, store, bad, patience=5)
    assert resolve(store, SLOT) == good


def test_an_engine_that_is_not_there_ends_in_an_error_with_a_remedy(store: MemoryStore, tmp_path: Path) -> None:
    digest = release(store, tmp_path / "r", "a")
    with pytest.raises(ServingError, match="caravan status"):
        switch(settings_at("http://127.0.0.1:9", tmp_path), store, digest, patience=0.1)


standings = st.builds(
    Standing, day=st.dates().map(lambda d: d.isoformat()), version=st.integers(min_value=1, max_value=10_000)
)


@given(one=standings, other=standings)
def test_of_two_releases_at_most_one_outranks_the_other(one: Standing, other: Standing) -> None:
    assert not (one.outranks(other) and other.outranks(one))
    assert one == other or one.outranks(other) or other.outranks(one)


@given(one=standings, version=st.integers(min_value=1, max_value=10_000))
def test_a_release_of_an_earlier_day_never_replaces_a_later_one(one: Standing, version: int) -> None:
    earlier = Standing(day="0000-12-31", version=version)
    assert not earlier.outranks(one)
