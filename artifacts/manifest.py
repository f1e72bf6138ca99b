"""Describes a directory by its files, their sizes and SHA-256; the hash of its canonical bytes is the digest.

Canonical: JSON with sorted keys, no spaces, UTF-8, files in path order. The same directory and the same `meta`
always give the same bytes, so a digest names content and nothing else.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from contracts.errors import ArtifactError, Tampered

FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class FileEntry:
    """One file of a directory; `size` in bytes."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a published directory holds."""

    kind: str
    files: tuple[FileEntry, ...]
    meta: dict[str, Any] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """Return the canonical bytes."""
        body = {
            "format": FORMAT,
            "kind": self.kind,
            "files": [{"path": f.path, "sha256": f.sha256, "size": f.size} for f in self.files],
            "meta": self.meta,
        }
        return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the canonical bytes, 64 hexadecimal digits."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(f.size for f in self.files)

    @classmethod
    def from_bytes(cls, data: bytes) -> Manifest:
        """Read a manifest. Raises Tampered if it is not one, or names a path outside its directory."""
        try:
            body = json.loads(data)
            if body["format"] != FORMAT:
                raise Tampered(f"manifest format {body['format']} is unknown", remedy="use the version that wrote it")
            files = tuple(
                FileEntry(path=checked(f["path"]), size=int(f["size"]), sha256=str(f["sha256"])) for f in body["files"]
            )
            return cls(kind=str(body["kind"]), files=files, meta=dict(body["meta"]))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise Tampered(f"a manifest cannot be read: {error}", remedy="restore it from a snapshot") from None

    @classmethod
    def describe(cls, directory: Path, *, kind: str, meta: dict[str, Any] | None = None) -> Manifest:
        """Describe `directory` as it is now. Raises ArtifactError for links and special files."""
        entries = []
        for path in sorted(directory.rglob("*")):
            name = path.relative_to(directory).as_posix()
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                raise ArtifactError(
                    f"{name} in {directory} is a link or a special file", remedy="put a plain file there"
                )
            if path.is_file():
                entries.append(FileEntry(path=checked(name), size=path.stat().st_size, sha256=sha256_of(path)))
        entries.sort(key=lambda e: e.path)
        return cls(kind=kind, files=tuple(entries), meta=meta or {})

    def verify(self, directory: Path) -> None:
        """Raise Tampered, with the file's name, unless `directory` holds exactly these files."""
        found = Manifest.describe(directory, kind=self.kind)
        expected = {f.path: f for f in self.files}
        actual = {f.path: f for f in found.files}
        for path in sorted(expected.keys() | actual.keys()):
            if path not in actual:
                problem = "is missing"
            elif path not in expected:
                problem = "is not in the manifest"
            elif actual[path] != expected[path]:
                problem = "differs from the manifest"
            else:
                continue
            raise Tampered(f"{path} of {self.kind} {self.digest[:12]} {problem}", remedy="fetch or publish it again")


def checked(path: str) -> str:
    """Return `path` if it is a plain relative path, else raise Tampered: nothing is written outside its directory."""
    pure = PurePosixPath(path)
    if not path or "\\" in path or "\0" in path or pure.is_absolute() or pure.as_posix() != path or ".." in pure.parts:
        raise Tampered(f"{path!r} is not a path inside a directory", remedy="publish the directory again")
    return path


def sha256_of(path: Path) -> str:
    """Compute the SHA-256 of a file, in bounded memory."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
