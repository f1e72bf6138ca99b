"""Makes bodies of requests: valid ones, and values that something somewhere would take for more than text."""

from __future__ import annotations

import base64
import json
import pickle
import random
import string
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any


class RunsWhenLoaded:
    """A pickle of this runs a command when it is loaded."""

    def __init__(self, command: str) -> None:
        self._command = command

    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return os.system, (self._command,)


def nasty(draw: random.Random, marker: Path) -> str:
    """A string that some parser, shell, template or log somewhere would take for more than text."""
    command = f"touch {marker}"
    choices: list[Callable[[], str]] = [
        lambda: f"$({command})",
        lambda: f"`{command}`",
        lambda: f"; {command} #",
        lambda: f"{{{{ cycler.__init__.__globals__.os.popen('{command}').read() }}}}",
        lambda: "{{7*7}}${7*7}<%= 7*7 %>#{7*7}",
        lambda: "${jndi:ldap://127.0.0.1/a}",
        lambda: f"!!python/object/apply:os.system ['{command}']",
        lambda: f"__import__('os').system('{command}')",
        lambda: base64.b64encode(pickle.dumps(RunsWhenLoaded(command))).decode(),
        lambda: "' OR 1=1; DROP TABLE events; --",
        lambda: "../" * draw.randint(1, 20) + "etc/passwd",
        lambda: "<script>alert(1)</script>",
        lambda: "\r\nHTTP/1.1 200 OK\r\nx-injected: 1",
        lambda: "%s%n%x" * 20,
        lambda: "\u202e\u200b\ufeff\u0000\u0007",
        lambda: "".join(chr(draw.choice((0x301, 0x1F600, 0xFFFF, 0x10FFFF, 0x0E01, 0xD7FF))) for _ in range(30)),
        lambda: "\ud800" + "x",
        lambda: draw.choice("aé漢\U0001f9d9") * draw.choice((129, 257, 5_000, 100_000)),
        lambda: " " * draw.randint(1, 300),
        lambda: "",
        lambda: "".join(draw.choices(string.printable, k=draw.randint(1, 60))),
    ]
    return draw.choice(choices)()


def value(draw: random.Random, marker: Path, depth: int = 0) -> Any:
    """Any JSON value."""
    kind = draw.randint(0, 9 if depth < 4 else 7)
    if kind <= 2:
        return nasty(draw, marker)
    if kind == 3:
        return draw.choice((0, -1, 1, 10**400, -(10**400), 2**63, 2**64, 1e308, 0.1, 5e-324))
    if kind == 4:
        return draw.choice((True, False, None))
    if kind == 5:
        return draw.choice((float("nan"), float("inf"), -float("inf")))
    if kind <= 7:
        return draw.randint(-5, 200)
    if kind == 8:
        return [value(draw, marker, depth + 1) for _ in range(draw.randint(0, 6))]
    return {nasty(draw, marker)[:200]: value(draw, marker, depth + 1) for _ in range(draw.randint(0, 5))}


def valid_body(draw: random.Random, route: str) -> dict[str, Any]:
    if route == "/events":
        event = {
            "event_id": f"e-{draw.getrandbits(64)}",
            "event_time": f"{datetime.now(UTC) - timedelta(days=1):%Y-%m-%dT12:00:00Z}",
            "user_id": f"shopper-{draw.randint(0, 50)}",
            "session_id": "s-1",
            "kind": "view",
            "item_id": "i-00001",
            "query": "lamp",
            "position": 1,
            "value": 1.5,
        }
        return {"events": [dict(event, event_id=f"e-{draw.getrandbits(64)}") for _ in range(draw.randint(1, 5))]}
    return {
        "user_id": f"shopper-{draw.randint(0, 50)}",
        "session_id": "s-1",
        "k": draw.randint(1, 100),
        "context": {"items": ["i-00002"], "category": "kitchen/tea"},
        "exclude": ["i-00003"],
        "hide_seen": draw.random() < 0.5,
    }


def mutated(draw: random.Random, body: Any, marker: Path) -> Any:
    """`body` with a few places replaced, removed or added."""
    for _ in range(draw.randint(1, 3)):
        place: Any = body
        while True:
            if isinstance(place, dict) and place:
                key: Any = draw.choice(list(place))
            elif isinstance(place, list) and place:
                key = draw.randrange(len(place))
            else:
                break
            if isinstance(place[key], dict | list) and place[key] and draw.random() < 0.7:
                place = place[key]
                continue
            if draw.random() < 0.2:
                del place[key]
            else:
                place[key] = value(draw, marker)
            break
        if isinstance(place, dict) and draw.random() < 0.2:
            place[nasty(draw, marker)[:100]] = value(draw, marker)
    return body


def encoded(body: Any) -> bytes:
    return json.dumps(body).encode("utf-8", "surrogatepass")
