"""Breaks something before a rehearsal restores, and repairs it afterwards.

Some faults are in the vault. Others stop services of the active region for as long as the rehearsal lasts: shoppers
still get answers with `database-down` and `object-store-down`, and none with `edge-cut-off` and `region-down`.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from urllib.parse import urlsplit

from contracts.recovery import Fault
from contracts.settings import Settings
from recovery.machine import Machine
from recovery.restore import suspended
from recovery.vault.catalog import Catalog, manifest_key
from recovery.vault.vault import Vault

#: What a rehearsal's page says of each fault.
FAULTS: dict[str, str] = {
    Fault.NOTHING: "The active region as if it were lost",
    Fault.NEWEST_OVERWRITTEN: "The newest snapshot's manifest was written over by the one who may write",
    Fault.NEWEST_CORRUPT: "In place of the newest snapshot's manifest there was something else, in every version",
    Fault.SLOW_STORE: "Every answer of the store that is restored from came late",
    Fault.DATABASE_DOWN: "The active region's database was down",
    Fault.OBJECT_STORE_DOWN: "The active region's object store was down",
    Fault.EDGE_CUT_OFF: "The active region's edge was cut off",
    Fault.REGION_DOWN: "Every service of the active region was down",
}
_STORES = ("postgres", "redis", "s3")
_REST = (
    "mlflow", "keeper", "engine", "engine-control", "engine-canary", "engine-former", "controller", "feed", "edge",
)  # fmt: skip
#: The services that each fault stops, in the order in which they are started again.
DOWN: dict[str, tuple[tuple[str, ...], ...]] = {
    Fault.DATABASE_DOWN: (("postgres",),),
    Fault.OBJECT_STORE_DOWN: (("s3",),),
    Fault.EDGE_CUT_OFF: (("edge",),),
    Fault.REGION_DOWN: (_STORES, _REST),
}
#: Delay of every answer of a slow store.
SLOW_STORE_DELAY_S = 0.1
_CHUNK = 1 << 16


@contextmanager
def inject(fault: str, vault: Vault, active: Settings, machine: Machine, target: Settings) -> Iterator[Settings]:
    """Apply the fault for the `with` block; yield the settings with which `target` is to be restored.

    Services run again afterwards. Damage that cannot be undone is done to a snapshot taken for it.
    """
    garbage = b'{"not": "a manifest"}'
    if fault == Fault.NEWEST_OVERWRITTEN:
        newest = Catalog(vault, active).newest()
        assert newest is not None  # noqa: S101 - there is one, or one was taken
        vault.store.put(manifest_key(newest.sequence), garbage)
    elif fault == Fault.NEWEST_CORRUPT:
        vault.store.put(manifest_key(max(Catalog(vault, active).sequences(), default=0) + 1), garbage)
    elif fault == Fault.SLOW_STORE:
        with closing(SlowProxy(target.s3_url, SLOW_STORE_DELAY_S)) as door:
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
