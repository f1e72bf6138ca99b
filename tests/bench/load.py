"""An open-loop load generator: requests leave when they are due, whether or not earlier ones were answered.

Latency counts from the moment a request was due, so a server that falls behind cannot hide it by slowing the
generator down. Who waited for `PATIENCE` seconds hangs up; an answer that comes later is none.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter
from typing import cast

import numpy as np

#: How long a shopper waits for a connection and an answer, in seconds.
PATIENCE = 1.0
#: A request: method, path and body.
Request = tuple[str, str, bytes]


@dataclass(kw_only=True)
class Result:
    """What came back; latencies in milliseconds of the answers with status 200."""

    rate: float
    seconds: float
    latencies: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)
    late: float = 0.0  # how far behind its own plan the generator was at worst, milliseconds

    def quantile(self, q: float) -> float:
        return float(np.quantile(self.latencies, q)) if self.latencies else float("inf")

    @property
    def goodput(self) -> float:
        """Answers with status 200 per second."""
        return self.statuses.get(200, 0) / self.seconds

    @property
    def failed(self) -> int:
        return sum(count for status, count in self.statuses.items() if status != 200)


class _Connection(asyncio.Protocol):
    """One HTTP/1.1 connection, one request at a time."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[int] | None = None
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    @property
    def closed(self) -> bool:
        """The server closed it while it was idle."""
        return self.transport is None or self.transport.is_closing()

    def hang_up(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    def send(self, data: bytes) -> asyncio.Future[int]:
        assert self.transport is not None
        self._data = b""
        self._answer = asyncio.get_running_loop().create_future()
        self.transport.write(data)
        return self._answer

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, found, body = self._data.partition(b"\r\n\r\n")
        if not found or self._answer is None or self._answer.done():
            return
        marker = head.lower().index(b"content-length:") + 15
        length = int(head[marker:].split(b"\r\n", 1)[0])
        if len(body) >= length:
            self._answer.set_result(int(head[9:12]))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or ConnectionResetError("closed"))


async def _offer(
    host: str, port: int, make: Callable[[int], Request], rate: float, seconds: float, seed: int, headers: str
) -> Result:
    loop = asyncio.get_running_loop()
    draw = random.Random(seed)
    result = Result(rate=rate, seconds=seconds)
    idle: deque[_Connection] = deque()

    async def one(number: int, due: float) -> None:
        method, path, body = make(number)
        connection: _Connection | None = None
        head = f"{method} {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n{headers}"
        data = f"{head}content-length: {len(body)}\r\n\r\n".encode() + body
        try:
            async with asyncio.timeout(PATIENCE - (perf_counter() - due)):
                connection = idle.pop() if idle else None
                if connection is None or connection.closed:
                    _, connection = await loop.create_connection(_Connection, host, port)
                status = await connection.send(data)
            idle.append(connection)
        except (TimeoutError, OSError):
            status = 0
            if connection is not None:
                connection.hang_up()
        if status == 200:
            result.latencies.append((perf_counter() - due) * 1000.0)
        result.statuses[status] = result.statuses.get(status, 0) + 1

    tasks: set[asyncio.Task[None]] = set()
    start = due = perf_counter()
    number = 0
    while True:
        due += draw.expovariate(rate)  # arrivals of people: Poisson
        if due - start > seconds:
            break
        while (ahead := due - perf_counter()) > 0:
            await asyncio.sleep(ahead)
        result.late = max(result.late, (perf_counter() - due) * 1000.0)
        task = asyncio.create_task(one(number, due))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        number += 1
    await asyncio.gather(*tasks)
    for connection in idle:
        connection.hang_up()
    return result


def offer(
    url: str, make: Callable[[int], Request], *, rate: float, seconds: float, seed: int = 0, key: str = ""
) -> Result:
    """Send `make(0)`, `make(1)`, ... to `url` at `rate` per second for `seconds`; `key`: the shop's, for an edge."""
    import uvloop

    host, _, port = url.removeprefix("http://").partition(":")
    headers = f"authorization: Bearer {key}\r\n" if key else ""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_offer(host, int(port), make, rate, seconds, seed, headers))


def highest_rate(
    url: str, make: Callable[[int], Request], *, limit_ms: float, seconds: float, start: float, steps: int = 5
) -> tuple[float, Result]:
    """The highest tried rate whose p99 stays below `limit_ms` with every answer a 200: doubling, then bisection."""

    def holds(rate: float) -> tuple[bool, Result]:
        result = offer(url, make, rate=rate, seconds=seconds)
        return result.failed == 0 and result.quantile(0.99) < limit_ms, result

    low, best = 0.0, Result(rate=0, seconds=seconds)
    high = start
    while True:
        good, result = holds(high)
        if not good:
            break
        low, best, high = high, result, high * 2
    for _ in range(steps):
        middle = (low + high) / 2
        good, result = holds(middle)
        if good:
            low, best = middle, result
        else:
            high = middle
        if high - low < 0.05 * high:
            break
    return low, best
