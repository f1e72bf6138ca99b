"""`python -m serving`: one engine on granian, following its pointer; `--directory` serves a local bundle instead."""

from __future__ import annotations

import argparse
import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING

from contracts.settings import settings

if TYPE_CHECKING:
    from serving.gate import App


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
    # the engine has one core: a second thread of the linear algebra would only wait for it
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    s = settings()
    server = Granian(
        "serving",
        address=s.host,
        port=chosen.port or s.ports.engine_of(s.engine_slot),
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
    server.serve(target_loader=functools.partial(load_application, chosen.directory, chosen.source), wrap_loader=False)


def load_application(directory: Path | None, source: str) -> App:
    """Runs in the worker: the process above it stays small, and NumPy sees the environment set here."""
    from serving.wiring import application

    return application(directory, source)


if __name__ == "__main__":
    main()
