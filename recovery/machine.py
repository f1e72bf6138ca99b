"""What recovery asks of the machine a region runs on: the seam that keeps supervisors and containers out of here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A region's PostgreSQL: its data folder, its address, and how its programs are run there.

    `prefix` makes a program run as the server's user, `owner` is that user (uid, gid), or None when it is ourselves.
    """

    data: Path
    host: str
    port: int
    prefix: tuple[str, ...]
    owner: tuple[int, int] | None


class Machine(Protocol):
    """Services of one region by their names (`caravan status`), and what lies around them."""

    def tool(self, name: str) -> Path:
        """A program of PostgreSQL: pg_basebackup, pg_combinebackup, ..."""

    def keys(self) -> Mapping[str, str]:
        """The keys that a restored region must have, by name; only their fingerprints are written down."""

    def cluster(self) -> Cluster: ...

    def stop(self, *services: str) -> None:
        """Stop them; fine when they do not run."""

    def start(self, *services: str) -> None:
        """Start them, and wait until they answer."""
