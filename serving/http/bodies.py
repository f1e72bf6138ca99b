"""Reads the body of a request before anything else runs: whole, within size and time, decompressed, and as JSON.

Browsers' beacons send JSON as text/plain, and some clients compress. Both are read as if they had come plainly; what
cannot be read is refused by the header's name.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]

#: Compressions that are read, by their names in content-encoding.
CODINGS = ("gzip", "x-gzip", "deflate")
#: Media types that are read as JSON. A beacon's is text/plain; who names none means JSON too.
JSON_TYPES = ("application/json", "text/json", "text/plain", "application/octet-stream", "")
#: Parts that one compressed body may have, one behind the other: each costs time, however small it is.
MAX_PARTS = 32
#: Headers that say how the body comes; the routes see others in their place.
_READ = (b"content-type", b"content-length", b"content-encoding")
_EITHER_HEADER = 47  # zlib finds out by itself whether a part is gzip or deflate


class BodyRefused(Exception):
    """The body cannot be taken: the status of the answer, what is wrong, what to do, and headers that help."""

    def __init__(self, status: int, what: str, remedy: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(what)
        self.status, self.what, self.remedy, self.headers = status, what, remedy, headers or {}


async def read_body(scope: Scope, receive: Receive, *, limit: int, seconds: float) -> Receive:
    """Read the whole body and return what replays it; `scope` then says that it is plain JSON. Raises BodyRefused.

    `limit` holds for the bytes that come and for what they decompress to, `seconds` until the last one is here.
    """
    headers = {name: value.decode("latin-1").strip() for name, value in scope["headers"] if name in _READ}
    length = headers.get(b"content-length", "")
    if length.isdigit() and int(length) > limit:
        raise _too_large(limit)
    coding = _coding_of(headers.get(b"content-encoding", ""))
    sent = await _receive_all(receive, limit, seconds)
    body: bytes | None = inflate(sent, limit) if coding else sent
    kind = headers.get(b"content-type", "")
    if sent and (coding or kind != "application/json"):
        _demand_json(kind)
        plain = (b"content-type", b"application/json"), (b"content-length", str(len(body or b"")).encode())
        scope["headers"] = [*(header for header in scope["headers"] if header[0] not in _READ), *plain]

    async def replay() -> Message:
        nonlocal body
        if body is None:
            return await receive()
        whole, body = body, None
        return {"type": "http.request", "body": whole, "more_body": False}

    return replay


def inflate(data: bytes, limit: int) -> bytes:
    """Decompress gzip or deflate to at most `limit` bytes. Raises BodyRefused for more, and for what is neither."""
    found = bytearray()
    for _ in range(MAX_PARTS):
        if not data:
            return bytes(found)
        part = zlib.decompressobj(_EITHER_HEADER)
        try:
            found += part.decompress(data, limit + 1 - len(found))  # never more than that in memory, whatever comes
        except zlib.error:
            raise _unreadable("is not what its content-encoding says") from None
        if len(found) > limit:
            raise _too_large(limit, "decompressed ")
        if not part.eof:
            raise _unreadable("ends in the middle of its compression")
        data = part.unused_data
    raise _unreadable(f"is compressed in more than {MAX_PARTS} parts")


async def _receive_all(receive: Receive, limit: int, seconds: float) -> bytes:
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(seconds):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    break
                chunk = message.get("body", b"")
                size += len(chunk)
                if size > limit:
                    raise _too_large(limit)
                chunks.append(chunk)
                if not message.get("more_body", False):
                    break
    except TimeoutError:
        raise BodyRefused(408, f"the body took longer than {seconds:g} s", "send it faster") from None
    return b"".join(chunks)


def _coding_of(given: str) -> str:
    """Return the compression that a header names, or an empty string for none."""
    codings = [name for part in given.lower().split(",") if (name := part.strip()) not in ("", "identity")]
    if not codings:
        return ""
    if len(codings) > 1 or codings[0] not in CODINGS:
        raise BodyRefused(
            415,
            f"content-encoding: {_shown(given)} is not read",
            "compress the body with gzip or deflate, once, or send it plainly",
            {"accept-encoding": "gzip, deflate"},
        )
    return codings[0]


def _demand_json(given: str) -> None:
    kind, _, parameters = given.lower().partition(";")
    kind = kind.strip()
    if kind not in JSON_TYPES and not (kind.startswith("application/") and kind.endswith("+json")):
        raise BodyRefused(
            415, f"content-type: {_shown(kind)} is not read", "send JSON as application/json, or text/plain in a beacon"
        )
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        charset = value.strip().strip('"')
        if name.strip() == "charset" and charset not in ("utf-8", "utf8", "us-ascii"):
            raise BodyRefused(415, f"content-type: the charset {_shown(charset)} is not read", "send JSON in UTF-8")


def _shown(value: str) -> str:
    """Return a header's value, bounded, without what is not printable."""
    return "".join(c for c in value[:60] if c.isascii() and c.isprintable())


def _too_large(limit: int, how: str = "") -> BodyRefused:
    return BodyRefused(413, f"the {how}body is larger than {limit} bytes", "send less at once")


def _unreadable(what: str) -> BodyRefused:
    return BodyRefused(400, f"the body {what}", "send whole gzip or deflate, or no content-encoding")
