"""Runs a hand-written edge for tests of traffic: a real HTTP server on loopback that answers as the test says."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from aiohttp import web

from serving.edge.arm_assignment import SHOPPER_HEADER

RELEASE = "a" * 64


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One request that came in; `time` is on the clock perf_counter."""

    time: float
    path: str
    shopper: str
    body: dict[str, Any]
    query: dict[str, str]


@dataclass(kw_only=True)
class FakeEdge:
    """An edge that answers with `items` from `release_of(shopper)`, or with what `disturb` returns."""

    items: Callable[[Seen, str], list[str]] = lambda seen, release: []
    release_of: Callable[[str], str] = lambda shopper: RELEASE
    #: Called for each request except /events; sleeps, raises, or returns another answer. None: nothing happens.
    disturb: Callable[[int, web.Request], Any] | None = None
    fallback: bool = False
    url: str = ""
    seen: list[Seen] = field(default_factory=list)

    def on(self, route: str) -> list[Seen]:
        return [seen for seen in self.seen if seen.path.startswith(route)]

    def events(self) -> list[dict[str, Any]]:
        return [event for seen in self.on("/events") for event in seen.body["events"]]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.json() if request.method == "POST" else {}
        shopper = request.headers[SHOPPER_HEADER]
        seen = Seen(time=perf_counter(), path=request.path, shopper=shopper, body=body, query=dict(request.query))
        self.seen.append(seen)
        release = self.release_of(shopper)
        if request.path == "/events":
            rejected = [event for event in body["events"] if event["item_id" if "item_id" in event else "query"] == "?"]
            verdicts = [{"event_id": event["event_id"], "status": "rejected"} for event in rejected]
            return web.json_response({"release": release, "rejected": len(rejected), "verdicts": verdicts})
        if self.disturb is not None:
            other = await self.disturb(len(self.seen) - len(self.on("/events")) - 1, request)
            if other is not None:
                return other  # type: ignore[no-any-return]
        items = [{"item_id": item} for item in self.items(seen, release)]
        return web.json_response({"release": release, "items": items, "fallback": self.fallback})


@contextmanager
def serving(edge: FakeEdge) -> Iterator[FakeEdge]:
    """Run `edge` in a thread of its own, until the block ends."""
    ready = threading.Event()
    loop = asyncio.new_event_loop()
    end = asyncio.Event()

    async def main() -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", edge.handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        edge.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        ready.set()
        await end.wait()
        await runner.cleanup()

    thread = threading.Thread(target=lambda: loop.run_until_complete(main()), daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield edge
    finally:
        loop.call_soon_threadsafe(end.set)
        thread.join(10)
        loop.close()
