"""Files that only their owner can read."""

from __future__ import annotations

import os
from pathlib import Path


def write_private(path: Path, text: str, *, owner: tuple[int, int] | None = None, durable: bool = False) -> None:
    """Write a file that only its owner can read, whole or not at all; `owner` is (uid, gid).

    `durable`: a power cut after it leaves it whole, its name in the folder too.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        if durable:
            file.flush()
            os.fsync(file.fileno())
    if owner is not None:
        os.chown(temporary, *owner)
    os.replace(temporary, path)
    if durable:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
