"""Describes what lands, as the manifests of the landing tables keep it: each record is the `meta` of one manifest.

A manifest holds more than its record (the lake adds its own fields), and one of an earlier version may hold less.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final, Self

#: Origin of a partition that another file has replaced.
WITHDRAWN: Final = "withdrawn"


@dataclass(frozen=True, kw_only=True)
class _Meta:
    """Turns a record into a manifest's `meta` and back; the names of its fields are those at rest."""

    def to_meta(self) -> dict[str, Any]:
        """Return the record as JSON-able values."""
        return asdict(self)

    @classmethod
    def from_meta(cls, meta: Mapping[str, Any]) -> Self:
        """Return the record that `meta` holds."""
        return cls(**{f.name: meta[f.name] for f in fields(cls) if f.name in meta})


@dataclass(frozen=True, kw_only=True)
class LandedFile(_Meta):
    """A file that has landed whole: kept + quarantined = read. An entry of `landing-files`."""

    file: str
    read: int
    kept: int
    quarantined: dict[str, int]
    days: list[str]
    dropped: int = 0  # how many columns; not their names, which may be a shopper's data


@dataclass(frozen=True, kw_only=True)
class LandedSegment(LandedFile):
    """A segment of an engine's event log; `bytes` of it have landed so far."""

    bytes: int


@dataclass(frozen=True, kw_only=True)
class LandedTable(LandedFile):
    """A table that replaces the one before, a catalog or judgments; `families`: column -> kind of its values."""

    families: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class LandedDay(_Meta):
    """The rows that one file has of one day. A partition of `landing-events`."""

    origin: str  # file | log | withdrawn
    file: str
    families: dict[str, str]
    values: dict[str, int]  # column -> rows that have a value in it
    read: int
    kept: int
    #: This day's part of the file's records that have no usable day, by reason: a share like that of its other rows.
    undated: dict[str, int] = field(default_factory=dict)

    def to_meta(self) -> dict[str, Any]:
        meta = super().to_meta()
        return meta if self.undated else {name: value for name, value in meta.items() if name != "undated"}
