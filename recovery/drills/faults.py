"""Breaks something before a rehearsal restores, and mends it afterwards.

Some faults are in the vault. Others stop services of the active region for as long as the rehearsal lasts: shoppers
still get answers with `database-down` and `object-store-down`, and none with `edge-cut-off` and `region-down`.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from urllib.parse import urlsplit

from contracts.settings import Settings
from recovery.machine import Machine
from recovery.restore import suspended
from recovery.vault.catalog import Catalog, manifest_key
from recovery.vault.vault import Vault

FAULTS = {
    "nothing": "The active region as if it were lost",
    "newest-overwritten": "The newest snapshot's manifest was written over by the one who may write",
    "newest-corrupt": "What lies where the newest snapshot's manifest should be is none, in any version",
    "slow-store": "Every answer of the store that is restored from came late",
    "database-down": "The active region's database was down",
    "object-store-down": "The active region's object store was down",
    "edge-cut-off": "The active region's edge was cut off",
    "region-down": "Every service of the active region was down",
}
_STORES = ("postgres", "redis", "s3")
_REST = (
    "mlflow", "keeper", "engine", "engine-control", "engine-canary", "engine-former", "controller", "feed", "edge",
)  # fmt: skip
#: The services that each fault stops, in the order in which they are started again.
DOWN: dict[str, tuple[tuple[str, ...], ...]] = {
    "database-down": (("postgres",),),
    "object-store-down": (("s3",),),
    "edge-cut-off": (("edge",),),
    "region-down": (_STORES, _REST),
}
#: Seconds by which every answer of a slow store is late.
LATE = 0.1
_CHUNK = 1 << 16


@contextmanager
def inject(fault: str, vault: Vault, active: Settings, machine: Machine, target: Settings) -> Iterator[Settings]:
    """Apply the fault for the `with` block; yield the settings with which `target` is to be restored.

    Services run again afterwards. Damage that cannot be undone is done to a snapshot taken for it.
    """
    garbage = b'{"not": "a manifest"}'
    if fault == "newest-overwritten":
        newest = Catalog(vault, active).newest()
        assert newest is not None  # noqa: S101 - there is one, or one was taken
        vault.store.put(manifest_key(newest.sequence), garbage)
    elif fault == "newest-corrupt":
        vault.store.put(manifest_key(max(Catalog(vault, active).sequences(), default=0) + 1), garbage)
    elif fault == "slow-store":
        with closing(SlowProxy(target.s3_url, LATE)) as door:
            yield target.model_copy(update={"s3_endpoint": door.address})
        return
    try:
        suspended.stop(active, machine, DOWN.get(fault, ()))
        yield target
    finally:
        suspended.start_again(active, machine)


class SlowProxy:
    """A proxy to a TCP server that delays everything the server sends by `late` seconds. End it with `close`."""

    def __init__(self, url: str, late: float) -> None:
        behind = urlsplit(url)
        self._to, self._late = (behind.hostname, behind.port), late
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="slow-door", daemon=True)
        self._thread.start()
        started = asyncio.start_server(self._pass, "127.0.0.1", 0)
        self._server = asyncio.run_coroutine_threadsafe(started, self._loop).result(10)
        self.address = f"{behind.scheme}://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection(*self._to)
        both = _relay(reader, there_writer, 0.0), _relay(there_reader, writer, self._late)
        await asyncio.gather(*both)

    def close(self) -> None:
        async def end() -> None:
            self._server.close()
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, late: float) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(_CHUNK):
            await asyncio.sleep(late)
            writer.write(data)
            await writer.drain()
    writer.close()
