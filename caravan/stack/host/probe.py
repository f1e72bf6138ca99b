"""Probes readiness: small questions with short timeouts, answered True or False, never raised."""

from __future__ import annotations

import json
import socket
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from httpx import HTTPError

from serving import reach

#: A loopback service that needs longer than this to say hello is not ready.
PROBE_TIMEOUT_S = 2.0
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def http(url: str, *, accept: tuple[int, ...] = (200,)) -> bool:
    """Check whether `url` answers with one of the statuses in `accept`."""
    try:
        with _direct.open(url, timeout=PROBE_TIMEOUT_S) as answer:
            return answer.status in accept
    except urllib.error.HTTPError as error:
        return error.code in accept
    except (OSError, ValueError):
        return False


def engine(address: str) -> bool:
    """Check whether the engine at `address`, a URL or `unix:PATH`, says that it lives."""
    try:
        return reach.get(address, "/healthz", timeout=PROBE_TIMEOUT_S).status_code == 200
    except HTTPError:
        return False


def http_json(url: str) -> Mapping[str, Any]:
    """Return the JSON object at `url`, or an empty one."""
    try:
        with _direct.open(url, timeout=PROBE_TIMEOUT_S) as answer:
            value = json.load(answer)
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def redis(host: str, port: int, password: str) -> bool:
    """Check whether Redis accepts the password and answers PING (not while it still loads its file)."""
    try:
        with socket.create_connection((host, port), timeout=PROBE_TIMEOUT_S) as connection:
            connection.sendall(f"AUTH {password}\r\nPING\r\n".encode())
            answer = b""
            while answer.count(b"\r\n") < 2:
                part = connection.recv(256)
                if not part:
                    return False
                answer += part
    except OSError:
        return False
    return answer.endswith(b"+PONG\r\n")


def postgres(host: str, port: int, user: str, password: str, database: str = "postgres") -> bool:
    """Check whether PostgreSQL lets `user` in."""
    import psycopg2

    try:
        psycopg2.connect(
            host=host, port=port, user=user, password=password, dbname=database, connect_timeout=int(PROBE_TIMEOUT_S)
        ).close()
    except psycopg2.Error:
        return False
    return True
