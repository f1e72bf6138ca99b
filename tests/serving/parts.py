"""Makes an engine in this process, with hand-written stand-ins where it touches other rooms."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from artifacts.manifest import Manifest
from contracts.region_paths import IMPRESSION_LOG
from feature_repo.purchases import bought
from ingestion.pseudonymize import Pseudonymizer
from serving.events.answer_log import open_answer_log
from serving.events.disk_room import DiskRoom
from serving.events.event_log import EventLog
from serving.http.admission import Limits
from serving.http.app import create_app
from serving.http.parts import Parts, Seams, assemble

KEY = "a key of the tests"
IDENTIFIERS = Pseudonymizer(KEY)


@dataclass
class FakeHistory:
    """A shopper's history as feature_repo.reader answers it, with the fields that the engine reads."""

    items: list[str]
    kinds: list[str]
    stale: bool = False
    purchased: list[str] = field(default_factory=list)


@dataclass
class FakeReader:
    """A reader that knows the shoppers it was given, by their hashed name; may sleep or fail instead."""

    shoppers: dict[str, FakeHistory] = field(default_factory=dict)
    sleep: float = 0.0
    error: Exception | None = None
    reads: int = 0

    def know(
        self,
        user: str,
        items: list[str],
        kinds: list[str] | None = None,
        *,
        stale: bool = False,
        purchased: Sequence[str] = (),
    ) -> None:
        kinds = kinds or ["view"] * len(items)
        found = FakeHistory(items=items, kinds=kinds, stale=stale, purchased=bought(purchased, items, kinds))
        self.shoppers[IDENTIFIERS.hash(user)] = found

    async def shopper(self, user_id: str, deadline: float) -> FakeHistory:
        self.reads += 1
        await asyncio.sleep(self.sleep)
        if self.error is not None:
            raise self.error
        return self.shoppers.get(user_id, FakeHistory([], []))


@dataclass
class FakeOnline:
    """An online store that takes pushed events; may fail."""

    pushed: list[dict[str, Any]] = field(default_factory=list)
    error: Exception | None = None

    def push(self, source: str, events: list[dict[str, Any]]) -> None:
        if self.error is not None:
            raise self.error
        self.pushed += events


@contextmanager
def parts_of(
    folder: Path,
    *,
    reader: FakeReader | None = None,
    online: FakeOnline | None = None,
    limits: Limits | None = None,
    token_key: str | None = None,
    room: DiskRoom | None = None,
    **log: Any,
) -> Iterator[Parts]:
    """Make parts whose event log is below `folder`; no release yet."""
    parts = assemble(
        Seams(
            make_reader=lambda _source: reader or FakeReader(),
            push=(online or FakeOnline()).push,
            identifiers=IDENTIFIERS,
            log=EventLog(folder / "event-log", "test", **log),
            answers=open_answer_log(folder, "test"),
            impressions=EventLog(folder / IMPRESSION_LOG, "test-shown"),
            room=room,
            online_read_deadline=0.05,
            limits=limits or Limits(),
            token_key=token_key,
        )
    )
    try:
        yield parts
    finally:
        parts.pusher.close()
        parts.log.close()
        parts.answers.close()
        parts.impressions.log.close()
        parts.search_pool.shutdown()


def load(parts: Parts, directory: Path, source: str = "shop") -> str:
    """Let the engine serve the bundle in `directory`; return its digest."""
    meta = {"source": source}
    digest = Manifest.describe(directory, kind="release", meta=meta).digest
    parts.engine.load(directory, digest=digest, meta=meta)
    return digest


@asynccontextmanager
async def client(parts: Parts) -> AsyncIterator[httpx.AsyncClient]:
    """Open HTTP to the application, without a socket."""
    transport = httpx.ASGITransport(app=create_app(parts))  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://engine") as http:
        yield http


def logged(folder: Path) -> list[bytes]:
    """Return all lines of the event log and of the impression log below `folder`."""
    paths = [*sorted((folder / "event-log").rglob("*.jsonl")), *sorted((folder / IMPRESSION_LOG).rglob("*.jsonl"))]
    return [line for path in paths for line in path.read_bytes().splitlines()]
