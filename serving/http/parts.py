"""Puts the parts of one engine together, around the seams to other rooms."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from artifacts.fence import Fence
from serving.bundle.release import Release
from serving.callers import Tokens
from serving.engine.engine import Engine
from serving.engine.query_vectors import QueryVectors
from serving.events.disk_room import DiskRoom
from serving.events.event_log import EventLog
from serving.events.ingest import Identifiers, Intake
from serving.events.pusher import Push, Pusher
from serving.events.side_effects import Impressions
from serving.http.admission import Limits
from serving.http.errors import NotReady
from serving.http.metrics import Meters
from serving.pipeline.shoppers import OnlineStoreReader, Reader


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Everything the routes use; made once per process."""

    engine: Engine
    shoppers: OnlineStoreReader
    identifiers: Identifiers
    log: EventLog
    answers: EventLog
    impressions: Impressions
    pusher: Pusher
    intake: Intake
    vectors: QueryVectors
    meters: Meters
    limits: Limits
    fence: Fence | None
    tokens: Tokens
    search_pool: ThreadPoolExecutor

    def serving_release(self) -> Release:
        """Return the release that serves a request from its first to its last line, also when another is swapped in.

        Raises NotReady where none serves yet.
        """
        release = self.engine.current
        if release is None:
            raise NotReady(f"no release serves yet: {self.engine.state.reason}", remedy="ask /readyz, then try again")
        return release


@dataclass(frozen=True, kw_only=True)
class Seams:
    """The parts that come from outside this room: stores, logs, keys and limits. `online_read_deadline` in seconds."""

    make_reader: Callable[[str], Reader]
    push: Push
    identifiers: Identifiers
    log: EventLog
    answers: EventLog
    impressions: EventLog
    online_read_deadline: float
    limits: Limits = field(default_factory=Limits)
    event_days: int | None = None
    token_key: str | None = None
    fence: Fence | None = None
    room: DiskRoom | None = None


def assemble(seams: Seams) -> Parts:
    """Put the parts of an engine together; it has no release yet."""
    meters = Meters()
    shoppers = OnlineStoreReader(seams.make_reader, seams.online_read_deadline)

    def swapped(release: Release) -> None:
        meters.show_release(release.digest, release.source)

    engine = Engine(prepare=shoppers.prepare, on_swap=swapped)
    pusher = Pusher(seams.push)
    meters.ready.set_function(lambda: float(engine.ready))
    meters.log_lag.set_function(lambda: seams.log.lag)
    meters.push_backlog.set_function(lambda: float(pusher.backlog))
    may_write = seams.fence.demand if seams.fence else lambda: None
    has_room = seams.room.demand if seams.room else lambda: None

    def may_log() -> None:
        may_write()
        has_room()

    impressions = Impressions(seams.impressions, may_log)
    meters.impressions_shed.set_function(lambda: float(impressions.shed))
    return Parts(
        engine=engine,
        shoppers=shoppers,
        identifiers=seams.identifiers,
        log=seams.log,
        answers=seams.answers,
        impressions=impressions,
        pusher=pusher,
        intake=Intake(
            seams.log, pusher, seams.identifiers, may_write=may_write, has_room=has_room, days=seams.event_days
        ),
        fence=seams.fence,
        tokens=Tokens(seams.token_key),
        vectors=QueryVectors(),
        meters=meters,
        limits=seams.limits,
        # One thread: encoding a text, or comparing one with all, keeps a core busy for milliseconds, outside the GIL;
        # on the event loop every recommendation would wait for it.
        search_pool=ThreadPoolExecutor(1, thread_name_prefix="search"),
    )
