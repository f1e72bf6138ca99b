"""Hand-written stand-ins for seams; real engines are used wherever one starts in a second."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from artifacts.object_store import Stored
from contracts.errors import Conflict, NotFound

#: What a gate said that let a release pass, as its gate.json has it.
GATE = {
    "passed": True,
    "checks": [
        {"name": "numbers", "passed": True, "sentence": "All figures are numbers."},
        {"name": "no regression", "passed": True, "sentence": "There is no champion to compare with."},
    ],
}


class MemoryStore:
    """An object store in a dictionary, with conditional puts; `fail_after` puts raise ConnectionError."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.puts: list[str] = []
        self.fail_after: int | None = None

    def put(self, key: str, body: bytes | Path, *, if_absent: bool = False, if_match: str | None = None) -> Stored:
        if self.fail_after is not None and len(self.puts) >= self.fail_after:
            raise ConnectionError("the store died")
        if if_absent and key in self.objects:
            raise Conflict(key)
        if if_match is not None and (key not in self.objects or self._etag(key) != if_match):
            raise Conflict(key)
        self.objects[key] = body.read_bytes() if isinstance(body, Path) else body
        self.puts.append(key)
        return Stored(key=key, size=len(self.objects[key]), etag=self._etag(key))

    def read(self, key: str) -> tuple[bytes, str]:
        if key not in self.objects:
            raise NotFound(key)
        return self.objects[key], self._etag(key)

    def get(self, key: str) -> bytes:
        return self.read(key)[0]

    def download(self, key: str, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.get(key))

    def head(self, key: str) -> Stored | None:
        if key not in self.objects:
            return None
        return Stored(key=key, size=len(self.objects[key]), etag=self._etag(key))

    def list(self, prefix: str) -> Iterator[Stored]:
        for key in sorted(self.objects):
            if key.startswith(prefix):
                yield Stored(key=key, size=len(self.objects[key]), etag=self._etag(key))

    def delete(self, key: str) -> None:
        self.objects.pop(key, None)

    def _etag(self, key: str) -> str:
        return hashlib.md5(self.objects[key], usedforsecurity=False).hexdigest()
