"""Defines what recovery needs from the machine of a region: the interface that keeps supervisors and containers out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, kw_only=True)
class DatabaseCluster:
    """A region's PostgreSQL cluster: its data folder, its address, and how its programs are run there.

    `prefix` is the command prefix that makes a program run as the server's user. `owner` is that user as (uid, gid), or
    None when it is the current user.
    """

    data: Path
    host: str
    port: int
    prefix: tuple[str, ...]
    owner: tuple[int, int] | None


class Machine(Protocol):
    """The services of one region, by their names in `caravan status`, and what belongs to them."""

    def tool(self, name: str) -> Path:
        """Return the path of a PostgreSQL program: pg_basebackup, pg_combinebackup, ..."""

    def keys(self) -> Mapping[str, str]:
        """Return the keys that a restored region must have, by name; only their fingerprints are ever written down."""

    def cluster(self) -> DatabaseCluster: ...

    def stop(self, *services: str) -> None:
        """Stop these services; does nothing for those that are not running."""

    def start(self, *services: str) -> None:
        """Start these services, and wait until they answer."""
