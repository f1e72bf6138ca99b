"""`python -m serving`: one engine on granian, following its pointer; `--directory` serves a local bundle instead."""

from __future__ import annotations

import argparse
import functools
import logging
import os
import threading
import time
from pathlib import Path
from typing import Any

from contracts.settings import Settings, settings
from serving.app import Parts, assemble, create_app
from serving.engine import Follower
from serving.event_log import EventLog
from serving.gate import App, Limits
from serving.shoppers import Reader


def main() -> None:
    """Serve until SIGTERM or SIGINT; requests under way are answered first."""
    from granian import Granian
    from granian.constants import Interfaces, Loops
    from granian.http import HTTP1Settings

    parser = argparse.ArgumentParser(prog="python -m serving", description=__doc__)
    parser.add_argument("--directory", type=Path, help="serve the release bundle in this folder, without a store")
    parser.add_argument("--source", default="", help="data source of that bundle (default: the shop)")
    parser.add_argument("--port", type=int, help="listen here instead of at the region's engine port")
    chosen = parser.parse_args()
    s = settings()
    server = Granian(
        "serving",
        address=s.host,
        port=chosen.port or s.ports.engine,
        interface=Interfaces.ASGI,
        workers=1,
        loop=Loops.uvloop,
        websockets=False,
        backlog=2048,
        backpressure=1024,
        http1_settings=HTTP1Settings(header_read_timeout=10_000),
        workers_kill_timeout=10,
        process_name="caravan-engine",
    )
    server.serve(target_loader=functools.partial(application, chosen.directory, chosen.source), wrap_loader=False)


def application(directory: Path | None = None, source: str = "") -> App:
    """The ASGI application of this process, from its settings."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    s = settings()
    end_with_parent()
    parts = wire(s)
    if directory is not None:
        from artifacts.manifest import Manifest

        meta = {"source": source or s.shop}
        digest = Manifest.describe(directory, kind="release", meta=meta).digest
        parts.engine.load(directory, digest=digest, meta=meta)
        return create_app(parts)

    from artifacts.object_store import ObjectStore

    follower = Follower(
        parts.engine,
        lambda: ObjectStore.of(s),
        f"serving/{s.region}/{s.engine_slot}",
        cache=s.cache / "releases",
        memory=s.region_home / "engine" / f"{s.engine_slot}.json",
    )
    return create_app(parts, start=follower.start, stop=follower.stop)


def end_with_parent() -> None:
    """Exit when the server process above is gone: nobody would stop this one any more, and it holds the port."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, name="end-with-parent", daemon=True).start()


def wire(s: Settings) -> Parts:
    """Parts that touch the real online store and the real event log."""
    from ingestion.pseudonymize import Pseudonymizer

    def make_reader(source: str) -> Reader:
        from feature_repo.reader import OnlineReader

        return OnlineReader(s, source)

    def push(source: str, events: list[dict[str, Any]]) -> None:
        from feature_repo.store import push_events

        push_events(s, source, events)

    return assemble(
        make_reader=make_reader,
        push=push,
        identifiers=Pseudonymizer(s.secret("pseudonym_key")),
        log=EventLog(s.region_home / "event-log", s.engine_slot),
        online_read_deadline=s.online_read_deadline,
        limits=Limits(deadline=s.request_deadline),
    )


if __name__ == "__main__":
    main()
