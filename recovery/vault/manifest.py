"""Defines the manifest of a snapshot: which files it holds, where, their sizes and hashes; canonical and signed.

It is written last, under the next sequence number and only if that number is free, with its signature inside. So it
exists exactly when the snapshot is complete, and a reader gets all of it or nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from artifacts.signature import sign_bytes, verify_bytes
from contracts.errors import Tampered
from contracts.settings import Settings

FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Part:
    """One file of a snapshot as stored in the vault; `size` in bytes, after encryption where it is encrypted."""

    key: str
    size: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Segment:
    """Bytes `start` to `end` of something that only grows: the database's WAL, or one file of the event log."""

    of: str
    start: int
    end: int
    part: Part


@dataclass(frozen=True, kw_only=True)
class Backup:
    """One base backup of the database, full or incremental on the one before it; positions in bytes of WAL."""

    kind: str  # full | incremental
    start: int
    end: int
    manifest: Part
    parts: tuple[Part, ...]


@dataclass(frozen=True, kw_only=True)
class Table:
    """One of our tables at the consistency point; `sha256` is over its rows as text, in the order of that text."""

    name: str
    rows: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Objects:
    """Everything in the region's buckets: `inventory` is the file that lists it, `size` is in bytes."""

    count: int
    size: int
    inventory: Part


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One object of a region: its place there, and the SHA-256 that addresses its copy in the vault."""

    bucket: str
    key: str
    size: int
    etag: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """One recovery point. `cut` is its consistency point: the WAL position at which the tables were hashed."""

    sequence: int
    parent: int | None
    at: datetime
    region: str
    epoch: int
    commit: str
    system: str
    timeline: int
    cut: int
    backups: tuple[Backup, ...]  # the full one first; all of them are needed
    log: tuple[Segment, ...]  # of the database, from the last backup's start to the cut
    events: tuple[Segment, ...]
    tables: tuple[Table, ...]
    objects: Objects
    serving: dict[str, Any]
    settings: dict[str, Any]
    keys: dict[str, str]  # fingerprints
    versions: dict[str, str]
    root: str  # Merkle root over every file, the objects included
    full_at: datetime | None = None  # when every byte below was last read, and a chain of backups begun

    @property
    def id(self) -> str:
        return f"s{self.sequence:06d}"

    def parts(self) -> list[Part]:
        """Return every file except the copies of objects, each once."""
        found = [part for backup in self.backups for part in (*backup.parts, backup.manifest)]
        found += [segment.part for segment in (*self.log, *self.events)]
        return list({part.key: part for part in [*found, self.objects.inventory]}.values())


def merkle_root(leaves: Iterable[tuple[str, int, str]]) -> str:
    """Return the root, in hexadecimal, of the binary hash tree over (name, size, SHA-256), in the order of names."""
    level = [hashlib.sha256(f"\0{name}\0{size}\0{sha}".encode()).digest() for name, size, sha in sorted(set(leaves))]
    while len(level) > 1:
        pairs = zip(level[::2], [*level[1::2], b""] if len(level) % 2 else level[1::2], strict=True)
        level = [hashlib.sha256(b"\1" + left + right).digest() for left, right in pairs]
    return (level[0] if level else hashlib.sha256(b"").digest()).hex()


def root_of(parts: Iterable[Part], entries: Iterable[Entry]) -> str:
    """Return the Merkle root that a manifest with these files must have."""
    leaves = [(p.key, p.size, p.sha256) for p in parts]
    return merkle_root([*leaves, *((f"{e.bucket}/{e.key}", e.size, e.sha256) for e in entries)])


def canonical(body: Any) -> bytes:
    """Return the one form in which a body is written as bytes."""
    return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def sign(body: dict[str, Any], s: Settings) -> bytes:
    """Return `body` and our signature of it as one document."""
    return canonical({"body": body, "signature": sign_bytes(canonical(body), s)})


def open_signed(data: bytes, name: str, s: Settings) -> dict[str, Any]:
    """Return the body of a signed document. Raises Tampered when a byte differs or no trusted key signed it."""
    try:
        document = json.loads(data)
        body, signature = dict(document["body"]), str(document["signature"])
    except (ValueError, KeyError, TypeError):
        raise Tampered(f"{name} cannot be read", remedy="take the snapshot before it") from None
    # whatever parses to the same, but is written otherwise, is not what we wrote
    if canonical({"body": body, "signature": signature}) != data or not verify_bytes(canonical(body), signature, s):
        raise Tampered(f"{name} was changed, or is not signed by a key we trust", remedy="take the snapshot before it")
    return body


def to_bytes(snapshot: Snapshot, s: Settings) -> bytes:
    """Return the manifest, signed, as it is stored."""
    full_at = snapshot.full_at.isoformat() if snapshot.full_at else None
    return sign({**asdict(snapshot), "at": snapshot.at.isoformat(), "full_at": full_at, "format": FORMAT}, s)


def from_bytes(data: bytes, name: str, s: Settings) -> Snapshot:
    """Return the snapshot of a stored manifest. Raises Tampered when it is invalid or of another format."""
    body = open_signed(data, name, s)
    try:
        if body.pop("format") != FORMAT:
            raise Tampered(f"{name} is of another format", remedy="use the version of caravan that wrote it")
        return Snapshot(
            **{
                **body,
                "at": datetime.fromisoformat(body["at"]),
                "full_at": datetime.fromisoformat(body["full_at"]) if body.get("full_at") else None,
                "backups": tuple(
                    Backup(**{**b, "manifest": Part(**b["manifest"]), "parts": tuple(Part(**p) for p in b["parts"])})
                    for b in body["backups"]
                ),
                "log": tuple(_stretch(v) for v in body["log"]),
                "events": tuple(_stretch(v) for v in body["events"]),
                "tables": tuple(Table(**t) for t in body["tables"]),
                "objects": Objects(**{**body["objects"], "inventory": Part(**body["objects"]["inventory"])}),
            }
        )
    except (KeyError, TypeError, ValueError):
        raise Tampered(f"{name} lacks something", remedy="take the snapshot before it") from None


def _stretch(body: dict[str, Any]) -> Segment:
    return Segment(**{**body, "part": Part(**body["part"])})
