"""Lists the places of one region where rows of shoppers are, each with a look and a removal."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Protocol

from artifacts.object_store import ObjectStore
from contracts.settings import Settings
from recovery.erasure import logs, objects, online
from recovery.erasure.objects import Buckets
from recovery.erasure.rows import ErasureSubject


class ErasurePlace(Protocol):
    """Somewhere a region keeps rows of shoppers. Both methods may be called any number of times."""

    name: str

    def look(self, whom: ErasureSubject) -> Counter[str]:
        """Count rows, lines or keys of the erased, by the kind that people are shown."""

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

    def erase(self, whom: ErasureSubject) -> None:
        self.buckets.erase(self._found, whom)


@dataclass
class Online:
    """The online store."""

    s: Settings
    name: str = "online store"

    def look(self, whom: ErasureSubject) -> Counter[str]:
        return Counter({"online store": len(online.keys(self.s, whom))})

    def erase(self, whom: ErasureSubject) -> None:
        online.remove(self.s, objects.sources(ObjectStore.of(self.s)), whom)


@dataclass
class Copies:
    """The verified copies on the region's disk."""

    s: Settings
    name: str = "copies"

    def look(self, whom: ErasureSubject) -> Counter[str]:
        return Counter({"local copies": sum(online.copies(self.s.cache, whom).values())})

    def erase(self, whom: ErasureSubject) -> None:
        online.drop(self.s.cache, online.copies(self.s.cache, whom))


def places(s: Settings) -> list[ErasurePlace]:
    """Return all places of a region; what is derived from another place comes after it."""
    return [Logs(s), ObjectPlace.of(s), Online(s), Copies(s)]
