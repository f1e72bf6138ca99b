"""Finds old files on a region's disk that nobody needs: copies, staging that a crash left, checkpoints, task logs."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from artifacts.publish import VERIFIED
from contracts.settings import Settings

#: Name of a training's checkpoint (training/jobs/checkpoint.py, which needs torch).
_CHECKPOINT = "checkpoint.safetensors"


@dataclass(frozen=True, kw_only=True)
class Swept:
    """One file or folder that may go: its kind as people are shown it, its path and its size in bytes."""

    kind: str
    path: Path
    size: int


def find_files(s: Settings, named: Collection[str], before: float) -> list[Swept]:
    """Return what was last used or written before `before` (seconds since 1970); copies of `named` digests stay."""
    found = [
        *_copies(s.cache / "objects", "copies of objects", named, before),
        *_copies(s.cache / "releases", "copies of releases", named, before),
        *(_swept("checkpoints", path) for path in s.paths.training.glob(f"*/*/{_CHECKPOINT}") if _old(path, before)),
    ]
    logs = s.home / "control" / "airflow" / "logs"
    found += [_swept("task logs", path) for path in logs.rglob("*") if path.is_file() and _old(path, before)]
    return sorted(found, key=lambda one: (one.kind, one.path))


def remove_file(one: Swept) -> None:
    """Remove it; what somebody else removed or moved meanwhile is gone already."""
    if one.path.is_dir():
        # without the mark nobody takes what is left for a verified copy
        one.path.with_name(f"{one.path.name}{VERIFIED}").unlink(missing_ok=True)
        shutil.rmtree(one.path, ignore_errors=True)
    else:
        one.path.unlink(missing_ok=True)


def _copies(folder: Path, kind: str, named: Collection[str], before: float) -> Iterator[Swept]:
    """Yield the copies of a cache: a verified one is touched whenever it is used, staging when it is written."""
    for path in folder.glob("*") if folder.is_dir() else ():
        if path.is_dir() and path.name not in named and _old(path, before):
            yield _swept(kind if not path.name.startswith(".") else "staging", path)


def _old(path: Path, before: float) -> bool:
    try:
        return path.stat().st_mtime < before
    except FileNotFoundError:
        return False


def _swept(kind: str, path: Path) -> Swept:
    files = path.rglob("*") if path.is_dir() else [path]
    return Swept(kind=kind, path=path, size=sum(file.stat().st_size for file in files if file.is_file()))
