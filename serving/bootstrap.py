"""Puts one engine process together from its settings: real online store, real event log, real object store."""

from __future__ import annotations

import logging
import os
import threading
import time
from pathlib import Path
from typing import Any

from artifacts.fence import Fence
from artifacts.publish import Store
from contracts.settings import Settings, settings
from serving.engine.engine import Follower
from serving.engine.overlay_reader import OverlayReader
from serving.events.answer_log import open_answer_log
from serving.events.disk_room import DiskRoom
from serving.events.event_log import EventLog
from serving.http.admission import App, Limits
from serving.http.app import create_app
from serving.http.parts import Parts, Seams, assemble
from serving.pipeline.shoppers import Reader


def make_application(directory: Path | None = None, source: str = "") -> App:
    """Make the ASGI application of this process, from its settings."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    s = settings()
    end_with_parent()
    parts = wire_parts(s)
    if directory is not None:
        from artifacts.manifest import Manifest

        meta = {"source": source or s.shop}
        digest = Manifest.describe(directory, kind="release", meta=meta).digest
        parts.engine.load(directory, digest=digest, meta=meta)
        return create_app(parts)

    from artifacts.object_store import ObjectStore
    from artifacts.signature import verify

    def trust(store: Store, digest: str) -> None:
        verify(store, digest, s)

    overlays = OverlayReader(trust, s.cache / "releases", s.paths.engine / f"{s.engine_slot}.overlay.json")
    follower = Follower(
        parts.engine,
        lambda: ObjectStore.of(s),
        f"serving/{s.region}/{s.engine_slot}",
        trust=trust,
        cache=s.cache / "releases",
        memory=s.paths.engine / f"{s.engine_slot}.json",
        overlays=overlays if s.overlay else None,
    )
    return create_app(parts, start=follower.start, stop=follower.stop)


def end_with_parent() -> None:
    """Exit when the server process above is gone: nothing would stop this one then, and it holds the port."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, name="end-with-parent", daemon=True).start()


def wire_parts(s: Settings) -> Parts:
    """Make parts that use the real online store and the real event log."""
    from ingestion.pseudonymize import Pseudonymizer

    def make_reader(source: str) -> Reader:
        from feature_repo.reader import OnlineReader

        return OnlineReader(s, source)

    def push(source: str, events: list[dict[str, Any]]) -> None:
        from feature_repo.store import push_events

        push_events(s, source, events)

    return assemble(
        Seams(
            make_reader=make_reader,
            push=push,
            identifiers=Pseudonymizer(s.secret("pseudonym_key")),
            log=EventLog(s.paths.event_log, s.engine_slot),
            answers=open_answer_log(s.paths.home, s.engine_slot),
            # its segments are landed beside those of the event log, so their names differ
            impressions=EventLog(s.paths.impression_log, f"{s.engine_slot}-shown", sync=lambda _file: None),
            room=DiskRoom(s.paths.home, s.disk_reserve_mb),
            online_read_deadline=s.online_read_deadline,
            limits=Limits(deadline=s.request_deadline),
            event_days=s.event_days,
            token_key=s.secret("token_key") if s.token_key else None,
            fence=Fence(s),
        )
    )
