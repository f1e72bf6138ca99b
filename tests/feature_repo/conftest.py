"""A Redis of its own for tests that stop it or fill it."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis

from caravan.stack.host.binaries import redis_server
from contracts.settings import Settings, read_settings
from tests.waiting import until

PASSWORD = "12e345"  # Feast would read it as a number, were it not quoted


@dataclass
class OwnRedis:
    """A redis-server that a test may stop, continue and empty."""

    settings: Settings
    process: subprocess.Popen[bytes]
    client: redis.Redis


def answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


@pytest.fixture(scope="module")
def own_redis() -> Iterator[OwnRedis]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = Path(tempfile.mkdtemp(prefix="caravan-redis-"))
    command = [redis_server(), "--port", str(port), "--bind", "127.0.0.1", "--requirepass", PASSWORD, "--save", ""]
    process = subprocess.Popen([*map(str, command), "--dir", str(folder)], stdout=subprocess.DEVNULL)
    client = redis.Redis(port=port, password=PASSWORD)
    try:
        until(lambda: answers(client), 30)
        s = read_settings(home=folder, redis_host=f"127.0.0.1:{port}", redis_password=PASSWORD)
        yield OwnRedis(s, process, client)
    finally:
        client.close()
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)
