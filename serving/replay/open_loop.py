"""Replays recorded sessions against the edge at a chosen rate: traffic to judge a canary by, and a load generator.

Open loop: arrivals (one step of one shopper each) are planned ahead as a Poisson process, and a slow server does not
slow them. Latency counts from the planned time, so neither a stall of the server nor one of the generator is hidden;
how late the generator itself was is reported separately.

A step asks first, as the shop's page would: `/recommend` (or `/similar` of the last item) before an interaction,
`/search` for a search. When the item that the recorded shopper chose next is in the answer it is a *hit*: a click with
its position is sent, then the recorded event. Hits are judged for items that are new in the session; putting an item
into the cart that is on the page already is no new choice.

This makes it a fair judge between two releases:

- On a miss the shopper found the item in another way. With `only_hits` (the default) that way is a `view`, for any
  recorded kind, and a later cart or purchase of that item is not sent. So a worse release shows as fewer clicks, carts
  and purchases, as it would with real shoppers. Without it carts and purchases are as recorded, whichever release
  answers, and no measure of outcomes can tell two releases apart.
- With `follow` at 1 (the default) no interest is lost on a miss: both releases are asked the same questions about
  shoppers with the same history. Below 1 only that share of misses is followed, and a worse release also gets to know
  its shoppers less well: nearer to life, but no longer the same question for both. The context of a question is the
  recorded session in either case.
- A purchase hides the item from that shopper's later answers. Where the recording is passed through more than once,
  the better release, with more purchases, would be asked harder questions in the next pass: `fresh_shoppers` makes
  every pass other people. By default the same people return, as they do in a shop.
- A release that was trained on the recorded day has seen the answers. Hit rates of two such releases can be compared,
  but neither is what a shop would see.
"""

from __future__ import annotations

import asyncio
import resource
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from time import perf_counter

import aiohttp
import numpy as np

from contracts.errors import NotEnoughData
from serving.replay.plan import ReplayPlan
from serving.replay.report import ReplayRecord, ReplayReport
from serving.replay.requests import EdgeClient
from serving.replay.sessions import Session
from serving.replay.shopper import Crowd

#: Longest time between two looks at `stop`.
_STOP_POLL_S = 0.1
#: File descriptors that are not for connections.
_SPARE_FILES = 64


def run_replay(
    plan: ReplayPlan,
    sessions: Sequence[Session],
    *,
    progress: Callable[[ReplayReport], None] | None = None,
    stop: threading.Event | None = None,
) -> ReplayReport:
    """Run `replay` from code without an event loop, in any thread; `stop` may be set from another one."""
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(replay(plan, sessions, progress=progress, stop=stop))


async def replay(
    plan: ReplayPlan,
    sessions: Sequence[Session],
    *,
    progress: Callable[[ReplayReport], None] | None = None,
    stop: asyncio.Event | threading.Event | None = None,
) -> ReplayReport:
    """Send `sessions` until the plan's duration is over or `stop` is set, wait for the answers, and report.

    Errors of the server are counted, never raised. `progress` gets a report now and then and should be quick: it runs
    between two arrivals. Raises NotEnoughData without sessions.
    """
    if not any(session.steps for session in sessions):
        raise NotEnoughData("there is no session to replay", remedy="give sessions with at least one step")
    record, crowd = ReplayRecord(), Crowd(plan, sessions)
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = plan.in_flight if files == resource.RLIM_INFINITY else max(min(plan.in_flight, files - _SPARE_FILES), 1)
    start = reported = perf_counter()

    def report() -> ReplayReport:
        return record.make_report(
            asked_rate=plan.rate, seconds=perf_counter() - start, shoppers=crowd.size, passes=crowd.passes
        )

    async with (
        aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),  # the edge's cookie of one shopper is not for the next
            timeout=aiohttp.ClientTimeout(total=plan.timeout),
        ) as http,
        asyncio.TaskGroup() as group,
    ):
        edge = EdgeClient(http, plan.url, record, plan.key)
        under_way: set[asyncio.Task[None]] = set()
        async for due in _arrivals(plan, start, stop):
            if progress is not None and perf_counter() - reported >= plan.progress_every:
                reported = perf_counter()
                progress(report())
            if len(under_way) >= most:
                record.unsent += 1
                continue
            shopper, turn = crowd.begin_turn()
            task = group.create_task(shopper.take(turn, edge, due))
            under_way.add(task)
            task.add_done_callback(under_way.discard)
            record.count_arrival((perf_counter() - due) * 1000.0)
        record.end_arrivals(perf_counter() - start)
    return report()


async def _arrivals(
    plan: ReplayPlan, start: float, stop: asyncio.Event | threading.Event | None
) -> AsyncIterator[float]:
    """Yield the planned time of each arrival when it has come, on the clock perf_counter."""
    draws = np.random.default_rng([plan.seed, 0])  # its own stream: the plan never depends on answers
    due, end = start, start + plan.duration
    while due <= end:
        due += float(draws.exponential(1 / plan.rate))
        await asyncio.sleep(0)  # the answers get their turn, also when the generator is behind
        while (ahead := min(due, end) - perf_counter()) > 0 and not (stop is not None and stop.is_set()):
            await asyncio.sleep(min(ahead, _STOP_POLL_S))
        if stop is not None and stop.is_set():
            return
        if due <= end:
            yield due
