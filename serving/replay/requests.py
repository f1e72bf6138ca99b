"""Sends a replay's requests to the edge, and counts every answer, or its lack, under its release."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any, TypeVar

import aiohttp
import orjson
from yarl import URL

from serving.edge.arm_assignment import SHOPPER_HEADER
from serving.replay.report import NO_RELEASE, ReplayRecord, RouteCounts

T = TypeVar("T")


class EdgeClient:
    """The shop's API below `url`, over `http`; counts into `record`."""

    def __init__(self, http: aiohttp.ClientSession, url: str, record: ReplayRecord, key: str | None = None) -> None:
        self._http = http
        self._url = url.rstrip("/")
        self._record = record
        self._known = {"authorization": f"Bearer {key}"} if key else {}

    async def ask(
        self, route: str, path: str, shopper: str, due: float, body: dict[str, Any] | None = None
    ) -> tuple[RouteCounts, list[str] | None]:
        """Ask, and return the counts that the answer is in, and its items in their order; None where there was none.

        `route` is its name in the report, `shopper` goes into the edge's header, `due` is on the clock perf_counter.
        """
        counts, answer = await self._exchange(route, path, shopper, due, body, _read_answer)
        if answer is None:
            return counts, None
        items, fallback = answer
        counts.fallbacks += fallback
        counts.empty += not items
        return counts, items

    async def tell(self, events: Sequence[dict[str, Any]], shopper: str, counts: RouteCounts) -> None:
        """Send events now; accepted ones count in `counts`, those of the answer that the shopper acted upon."""
        _, rejected = await self._exchange(
            "events", "/events", shopper, perf_counter(), {"events": events}, _read_rejected
        )
        if rejected is None:
            return
        self._record.events_rejected += len(rejected)
        counts.events.update(event["kind"] for event in events if event["event_id"] not in rejected)

    async def _exchange(
        self,
        route: str,
        path: str,
        shopper: str,
        due: float,
        body: dict[str, Any] | None,
        read: Callable[[dict[str, Any]], T],
    ) -> tuple[RouteCounts, T | None]:
        """Send one request, a POST when it has a body; return its counts, and the result of `read` for a status 200."""
        result: T | None = None
        release, failure = NO_RELEASE, None
        headers = {SHOPPER_HEADER: shopper, "content-type": "application/json", **self._known}
        try:
            async with self._http.request(
                "GET" if body is None else "POST",
                URL(self._url + path, encoded=True),
                data=None if body is None else orjson.dumps(body),
                headers=headers,
                allow_redirects=False,
            ) as response:
                raw = await response.read()
            failure = None if response.status == 200 else f"{response.status // 100}xx"
            content = orjson.loads(raw)
            if isinstance(content, dict):
                release = str(content.get("release") or NO_RELEASE)
            if failure is None:
                result = read(content)
        except TimeoutError:
            failure = "timeout"
        except (aiohttp.ClientError, OSError):
            failure = "connection"
        except (ValueError, TypeError, KeyError):  # not JSON, or not an answer of an engine
            failure = failure or "unreadable"
        counts = self._record.counts_of(release, route)
        counts.requests += 1
        if failure in (None, "timeout"):
            counts.latencies.append((perf_counter() - due) * 1000.0)
        if failure is not None:
            counts.errors[failure] += 1
        return counts, result


def _read_answer(content: dict[str, Any]) -> tuple[list[str], bool]:
    return [item["item_id"] for item in content["items"]], bool(content["fallback"])


def _read_rejected(content: dict[str, Any]) -> set[str]:
    if not content["rejected"]:
        return set()
    return {verdict["event_id"] for verdict in content["verdicts"] if verdict["status"] == "rejected"}
