"""Runs one engine on granian: `python -m serving` follows its pointer, with `--directory` it serves a local bundle."""

from __future__ import annotations

import argparse
import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contracts.settings import Settings, settings
from contracts.sockets import SCHEME

if TYPE_CHECKING:
    from serving.http.admission import App


def main() -> None:
    """Serve until SIGTERM or SIGINT; requests under way are answered first."""
    from granian import Granian
    from granian.constants import Interfaces, Loops
    from granian.http import HTTP1Settings

    parser = argparse.ArgumentParser(prog="python -m serving", description=__doc__)
    parser.add_argument("--directory", type=Path, help="serve the release bundle in this folder, without a store")
    parser.add_argument("--source", default="", help="data source of that bundle (default: the shop)")
    parser.add_argument("--port", type=int, help="listen at this port instead of where the region's engine does")
    chosen = parser.parse_args()
    # the engine has one core: a second thread for linear algebra would only wait for it
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    s = settings()
    server = Granian(
        "serving",
        **listening_options(s, chosen.port),
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


def listening_options(s: Settings, port: int | None = None) -> dict[str, Any]:
    """Return Granian's options to listen at a port, where the engine's address is a URL, or else at its own socket."""
    if port is not None:
        return {"address": s.host, "port": port}
    address = s.engine_address_of(s.engine_slot)
    if not address.startswith(SCHEME):
        return {"address": s.host, "port": s.ports.engine_of(s.engine_slot)}
    path = Path(address.removeprefix(SCHEME))
    path.parent.mkdir(parents=True, exist_ok=True)
    return {"uds": path, "uds_permissions": 0o600}


def load_application(directory: Path | None, source: str) -> App:
    """Make the application in the worker: the process above stays small, and NumPy sees the environment set here."""
    from serving.bootstrap import make_application

    return make_application(directory, source)


if __name__ == "__main__":
    main()
