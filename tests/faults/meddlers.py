"""Clients without key or token at a running edge, who try to decide over a release: many names, halves of requests."""

from __future__ import annotations

import itertools
import json
import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlsplit

import httpx

from contracts.settings import Settings
from serving.callers import CALLER_HEADER, PSEUDONYM_HEADER, USER_HEADER
from serving.edge.arm_assignment import ARM_HEADER, RELEASE_HEADER, SHOPPER_COOKIE, SHOPPER_HEADER

#: Seconds between two requests of one meddler.
PAUSE = 0.05


@dataclass
class Meddlers:
    """`dropped`: bodies of which the second half came late or never."""

    s: Settings
    dropped: int = 0

    def _posts(self, stop: threading.Event) -> None:
        """Questions and events under ever new names, that claim to be the shop's and to be answered by the canary."""
        with httpx.Client(base_url=self.s.edge_address, timeout=5, trust_env=False) as client:
            for number in itertools.count():
                if stop.wait(PAUSE):
                    return
                who = f"m-{uuid.uuid4().hex[:10]}"
                claims = {
                    CALLER_HEADER: "shop", USER_HEADER: who, PSEUDONYM_HEADER: who, SHOPPER_HEADER: who,
                    ARM_HEADER: "canary", RELEASE_HEADER: "b" * 64, "cookie": f"{SHOPPER_COOKIE}={who}",
                }  # fmt: skip
                event = {"event_id": who, "event_time": datetime.now(UTC).isoformat(), "user_id": who,
                         "kind": "purchase", "item_id": "i-00001"}  # fmt: skip
                path, body = ("/events", {"events": [event]}) if number % 3 == 0 else ("/recommend", {"user_id": who})
                with suppress(httpx.TransportError):
                    client.post(path, json=body, headers=claims)

    def _leaves(self, stop: threading.Event) -> None:
        """Bodies in two halves, the second of which comes late or never."""
        at = urlsplit(self.s.edge_address)
        body = json.dumps({"user_id": "m-slow"}).encode()
        head = f"POST /recommend HTTP/1.1\r\nhost: shop\r\ncontent-length: {len(body)}\r\n\r\n".encode()
        for number in itertools.count():
            with suppress(OSError), socket.create_connection((at.hostname, at.port), timeout=5) as one:
                one.sendall(head + body[:4])
                if stop.wait(1.2):
                    return
                if number % 2:
                    one.sendall(body[4:])
                    one.recv(1000)
                self.dropped += 1
            if stop.is_set():
                return

    @contextmanager
    def meddling(self) -> Iterator[None]:
        """They are at it until the block ends."""
        stop = threading.Event()
        threads = [threading.Thread(target=what, args=(stop,)) for what in (self._posts, self._posts, self._leaves)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.join()
