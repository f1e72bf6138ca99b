"""Reaches this stack's own services over HTTP, at a port or, as engines listen, at a unix socket."""

from __future__ import annotations

from typing import Any

import httpx

from contracts.settings import Settings
from contracts.sockets import SCHEME


def client(address: str, **options: Any) -> httpx.Client:
    """Open a client for the paths of the service at `address`, a URL or `unix:PATH`; never through a proxy."""
    if address.startswith(SCHEME):
        transport = httpx.HTTPTransport(uds=address.removeprefix(SCHEME))
        return httpx.Client(base_url="http://engine", transport=transport, **options)
    return httpx.Client(base_url=address, trust_env=False, **options)


def as_shop(s: Settings, address: str = "", **options: Any) -> httpx.Client:
    """Open a client that asks the edge as the shop's own server does, with its key."""
    return client(address or s.edge_address, headers=shop_headers(s), **options)


def shop_headers(s: Settings) -> dict[str, str]:
    """Return the header that tells the edge that the shop's own server asks; none where there is no key yet."""
    return {"authorization": f"Bearer {s.shop_key}"} if s.shop_key else {}


def get(address: str, path: str, *, timeout: float = 5.0) -> httpx.Response:
    """Send one GET. Raises httpx.HTTPError."""
    with client(address, timeout=timeout) as once:
        return once.get(path)
