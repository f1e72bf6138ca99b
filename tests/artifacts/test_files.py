"""A file is replaced in one step: whole, private where it must be, and not at all when that fails."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from artifacts.files import atomic_write, replacing


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_it_is_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "facts.json"
    atomic_write(path, "one")
    atomic_write(path, b"two", durable=True)
    assert (path.read_bytes(), names(tmp_path)) == (b"two", ["facts.json"])


@pytest.mark.parametrize(("private", "mode"), [(True, 0o600), (False, 0o640)])
def test_who_may_read_it(tmp_path: Path, mode: int, *, private: bool) -> None:
    before = os.umask(0o026)
    try:
        atomic_write(tmp_path / "key", "secret", private=private, owner=(os.getuid(), os.getgid()))
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == mode


def test_the_former_file_stays_when_it_may_not_be_replaced(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    atomic_write(path, "former")

    def refuse() -> None:
        assert len(names(tmp_path)) == 2, "asked last: the new one is written"
        raise RuntimeError("taken over")

    with pytest.raises(RuntimeError, match="taken over"):
        atomic_write(path, "new", durable=True, allowed=refuse)
    with pytest.raises(FileNotFoundError), replacing(path) as part:
        part.with_name("nothing").rename(part)
    assert (path.read_text(), names(tmp_path)) == ("former", ["checkpoint"])


def test_a_file_of_a_killed_process_is_in_nobodys_way(tmp_path: Path) -> None:
    left = tmp_path / f".a.{os.getpid()}-{threading.get_native_id()}.tmp"
    left.write_text("half")
    atomic_write(tmp_path / "a", "whole", private=True)
    assert ((tmp_path / "a").read_text(), names(tmp_path)) == ("whole", ["a"])


def test_readers_never_see_a_part(tmp_path: Path) -> None:
    path, size, stop = tmp_path / "large", 1 << 20, threading.Event()
    atomic_write(path, b"a" * size)

    def write() -> None:
        for letter in b"bcdefgh" * 4:
            atomic_write(path, bytes([letter]) * size)
        stop.set()

    writers = [threading.Thread(target=write) for _ in range(2)]
    for writer in writers:
        writer.start()
    while not stop.is_set():
        found = path.read_bytes()
        assert (len(found), len(set(found))) == (size, 1)
    for writer in writers:
        writer.join()
    assert names(tmp_path) == ["large"]
