"""Reads logs of JSON lines that others are still writing: from a moment on, and later only the new lines."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson

Line = dict[str, Any]


def is_counted(line: Line) -> bool:
    """Say whether a line of either log is of a shopper whom the shop or a token names; older lines have no `caller`.

    An id that the edge `minted` for that very request is nobody's yet: who keeps no cookie gets one for each.
    """
    return line.get("caller", "shop") in ("shop", "shopper") and line.get("minted") in (None, "", "-")


#: Bytes read at once; a backlog is worked off in pieces, so memory stays bounded.
CHUNK_BYTES = 4 << 20


class Tail:
    """One growing file. Whole lines only; lines that are no JSON are counted, not raised."""

    def __init__(self, path: Path, when: Callable[[Line], float], since: float) -> None:
        self.path = path
        self.broken = 0
        self._when = when  # the time of a line, in seconds since 1970
        self._since = since
        self._offset: int | None = None
        self._file: int | None = None

    def read(self) -> Iterator[Line]:
        """Yield the lines since the last call, or since the moment given. None when the file is not there.

        When another file has the name now, the rest of the one before is read first, under the name it was put aside.
        """
        if self._file is not None and self._offset is not None and _number(self.path) != self._file:
            aside = next((p for p in self.path.parent.glob(f"{self.path.name}.*") if _number(p) == self._file), None)
            yield from self._read(aside) if aside is not None else ()
        yield from self._read(self.path)

    def _read(self, path: Path) -> Iterator[Line]:
        try:
            with path.open("rb") as file:
                about = os.fstat(file.fileno())
                if self._file != about.st_ino or (self._offset or 0) > about.st_size:
                    self._offset, self._file = None, about.st_ino  # another file has its name now
                if self._offset is None:
                    self._offset = self._find_start(file.fileno(), about.st_size)
                while True:
                    file.seek(self._offset)
                    data = file.read(CHUNK_BYTES)
                    whole = data[: data.rfind(b"\n") + 1]
                    if not whole:
                        return
                    self._offset += len(whole)
                    for text in whole.splitlines():
                        line = self._parse(text) if text.strip() else None  # a blank one was erased
                        if line is not None and self._when(line) >= self._since:
                            yield line
        except FileNotFoundError:
            return

    def _parse(self, text: bytes) -> Line | None:
        try:
            line = orjson.loads(text)
            self._when(line)
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
            self.broken += 1
            return None
        return dict(line)

    def _find_start(self, file: int, size: int) -> int:
        """Find the first offset by halving: lines are nearly in the order of time; a minute earlier, to miss none."""
        low, high = 0, size
        while high - low > 65536:
            middle = (low + high) // 2
            data = os.pread(file, 65536, middle)
            begin = data.find(b"\n") + 1
            line = self._parse(data[begin : data.find(b"\n", begin)]) if begin and data.find(b"\n", begin) > 0 else None
            if line is None or self._when(line) >= self._since - 60.0:
                high = middle
            else:
                low = middle
        if low == 0:
            return 0
        return low + os.pread(file, 65536, low).find(b"\n") + 1


def _number(path: Path) -> int | None:
    """Return what tells a file from others of its name; None when it is not there."""
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None


class TailOfFolder:
    """All segments `<day>/<engine>-<n>.jsonl` below a folder, except those not touched since the moment."""

    def __init__(self, folder: Path, when: Callable[[Line], float], since: float) -> None:
        self._folder = folder
        self._when = when
        self._since = since
        self._tails: dict[Path, Tail] = {}

    @property
    def exists(self) -> bool:
        return bool(self._tails)

    def read(self) -> Iterator[Line]:
        """Yield the new lines of all segments; in order within a segment only."""
        for path in sorted(self._folder.glob("*/*.jsonl")):
            if path not in self._tails:
                try:
                    if path.stat().st_mtime < self._since:
                        continue
                except FileNotFoundError:
                    continue
                self._tails[path] = Tail(path, self._when, self._since)
        for tail in list(self._tails.values()):
            yield from tail.read()
