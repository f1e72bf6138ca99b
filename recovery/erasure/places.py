"""Lists the places of one region where rows of shoppers are, each with a look, its rows and a removal.

One list serves `caravan forget` and `caravan export`, so that neither knows a place that the other does not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from artifacts.object_store import ObjectStore
from contracts.settings import Settings
from recovery.erasure import logs, objects, online
from recovery.erasure.objects import Buckets
from recovery.erasure.rows import ErasureSubject, rows_of

#: A row, with its kind before it.
Row = tuple[str, dict[str, Any]]


class ErasurePlace(Protocol):
    """Somewhere a region keeps rows of shoppers. The methods may be called any number of times."""

    name: str

    def look(self, whom: ErasureSubject) -> Counter[str]:
        """Count rows, lines or keys of the erased, by the kind that people are shown."""

    def rows(self, whom: ErasureSubject) -> Iterator[Row]:
        """Yield what the last look found: each row with its kind, as the look counts it."""

    def erase(self, whom: ErasureSubject) -> None:
        """Remove what the last look found."""


@dataclass
class Logs:
    """The event log, the answer log and the edge's log, below the region's home."""

    s: Settings
    name: str = "logs"
    _found: logs.FoundLines = field(default_factory=logs.FoundLines)

    def look(self, whom: ErasureSubject) -> Counter[str]:
        self._found = logs.find_lines(self.s.paths.home, whom)
        return self._found.lines

    def rows(self, whom: ErasureSubject) -> Iterator[Row]:
        del whom
        yield from logs.read_lines(self._found)

    def erase(self, whom: ErasureSubject) -> None:
        del whom  # what the look found is known line by line
        logs.blank(self.s.paths.home, self._found)


@dataclass
class ObjectPlace:
    """The lake, the feature tables and everything else in the region's buckets."""

    buckets: Buckets
    name: str = "object store"
    _found: objects.FoundObjects = field(default_factory=objects.FoundObjects)

    @classmethod
    def of(cls, s: Settings) -> ObjectPlace:
        stores = {name: ObjectStore.of(s, name) for name in (s.bucket, s.mlflow_bucket)}
        return cls(Buckets(stores, s.bucket, s.cache / "erasing"))

    def look(self, whom: ErasureSubject) -> Counter[str]:
        self._found = self.buckets.look(whom)
        return self._found.by_table(self.buckets.bucket)

    def rows(self, whom: ErasureSubject) -> Iterator[Row]:
        yield from self.buckets.rows(self._found, whom)

    def erase(self, whom: ErasureSubject) -> None:
        self.buckets.erase(self._found, whom)


@dataclass
class Online:
    """The online store."""

    s: Settings
    name: str = "online store"

    def look(self, whom: ErasureSubject) -> Counter[str]:
        return Counter({"online store": len(online.keys(self.s, whom))})

    def rows(self, whom: ErasureSubject) -> Iterator[Row]:
        yield from (("online store", row) for row in online.features(self.s, whom))

    def erase(self, whom: ErasureSubject) -> None:
        online.remove(self.s, objects.sources(ObjectStore.of(self.s)), whom)


@dataclass
class Copies:
    """The verified copies on the region's disk."""

    s: Settings
    name: str = "copies"

    def look(self, whom: ErasureSubject) -> Counter[str]:
        return Counter({"local copies": sum(online.copies(self.s.cache, whom).values())})

    def rows(self, whom: ErasureSubject) -> Iterator[Row]:
        for path in online.copies(self.s.cache, whom):
            name = path.relative_to(self.s.cache).as_posix()
            yield from (("local copies", {"file": name, **row}) for row in rows_of(path, whom))

    def erase(self, whom: ErasureSubject) -> None:
        online.drop(self.s.cache, online.copies(self.s.cache, whom))


def places(s: Settings) -> list[ErasurePlace]:
    """Return all places of a region; what is derived from another place comes after it."""
    return [Logs(s), ObjectPlace.of(s), Online(s), Copies(s)]
