"""The parts of one engine, and how they are put together around the seams to other rooms."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from artifacts.fence import Fence
from serving.bundle.release import Release
from serving.callers import Tokens
from serving.engine.engine import Engine
from serving.engine.query_vectors import QueryVectors
from serving.events.event_log import EventLog
from serving.events.ingest import Identifiers, Intake
from serving.events.pusher import Push, Pusher
from serving.http.admission import Limits
from serving.http.metrics import Meters
from serving.pipeline.shoppers import OnlineShoppers, Reader


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Everything the routes use; made once per process."""

    engine: Engine
    shoppers: OnlineShoppers
    identifiers: Identifiers
    log: EventLog
    answers: EventLog
    pusher: Pusher
    intake: Intake
    vectors: QueryVectors
    meters: Meters
    limits: Limits
    fence: Fence | None
    tokens: Tokens
    search_pool: ThreadPoolExecutor


def assemble(
    *,
    make_reader: Callable[[str], Reader],
    push: Push,
    identifiers: Identifiers,
    log: EventLog,
    answers: EventLog,
    online_read_deadline: float,
    limits: Limits | None = None,
    token_key: str | None = None,
    fence: Fence | None = None,
) -> Parts:
    """Parts around the seams that touch other rooms; the engine has no release yet."""
    meters = Meters()
    shoppers = OnlineShoppers(make_reader, online_read_deadline)

    def swapped(release: Release) -> None:
        meters.serve(release.digest, release.source)

    engine = Engine(prepare=shoppers.prepare, on_swap=swapped)
    pusher = Pusher(push)
    meters.ready.set_function(lambda: float(engine.ready))
    meters.log_lag.set_function(lambda: log.lag)
    meters.push_backlog.set_function(lambda: float(pusher.backlog))
    return Parts(
        engine=engine,
        shoppers=shoppers,
        identifiers=identifiers,
        log=log,
        answers=answers,
        pusher=pusher,
        intake=Intake(log, pusher, identifiers, may_write=fence.demand if fence else lambda: None),
        fence=fence,
        tokens=Tokens(token_key),
        vectors=QueryVectors(),
        meters=meters,
        limits=limits or Limits(),
        # One thread: encoding a text, or comparing one with all, keeps a core busy for milliseconds, outside the GIL;
        # on the event loop every recommendation would wait for it.
        search_pool=ThreadPoolExecutor(1, thread_name_prefix="search"),
    )
