"""Replaces a file in one step, so that a reader sees the former one or the new one, never a part of it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Lend a name beside `path` to write to; what is there takes the place of `path` unless the block fails."""
    part = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_native_id()}.tmp")
    part.unlink(missing_ok=True)  # of a process that was killed, and had this number
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def atomic_write(
    path: Path,
    data: bytes | str,
    *,
    private: bool = False,
    owner: tuple[int, int] | None = None,
    durable: bool = False,
    allowed: Callable[[], object] | None = None,
) -> None:
    """Replace `path` by `data`, whole or not at all; its folder must be there.

    `private`: only its owner, who may be given as (uid, gid), can read it, at no moment anybody else. `durable`: when
    this returns, no power cut takes it back. `allowed` is asked last; when it raises, the former file stays.
    """
    body = data.encode() if isinstance(data, str) else data
    with replacing(path) as part:
        mode = 0o600 if private else 0o666
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(body)
            if owner is not None:
                os.fchown(file.fileno(), *owner)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        if allowed is not None:
            allowed()
    if durable:
        fsync_folder(path.parent)


def fsync_folder(folder: Path) -> None:
    """Bring a folder's names to disk: those of files that were made, replaced or removed in it."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
