"""Writes files that only their owner can read."""

from __future__ import annotations

from pathlib import Path

from artifacts.files import atomic_write


def write_private(path: Path, text: str, *, owner: tuple[int, int] | None = None, durable: bool = False) -> None:
    """Write a file that only its owner can read, whole or not at all; `owner` is (uid, gid).

    `durable`: a power cut after it leaves it whole, its name in the folder too.
    """
    atomic_write(path, text, private=True, owner=owner, durable=durable)
