"""Defines what a reader hands on: the rows of one file as they came, and the records it could not read."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

import pyarrow as pa


def printable(name: str) -> str:
    """Return a file's name as text: on disk it is any bytes, and manifests and tables hold only UTF-8."""
    return os.fsencode(name).decode(errors="replace")


@dataclass(frozen=True)
class Refused:
    """One record that is no row at all; its text is not kept, since it may name a person in any place."""

    number: int
    reason: str
    size: int


@dataclass(frozen=True, kw_only=True)
class RawFile:
    """One file, read. `table` has the contract's columns that the file has, `numbers` the record of each row."""

    name: str
    format: str
    table: pa.Table
    numbers: pa.Array
    refused: tuple[Refused, ...] = ()
    families: dict[str, str] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()

    @property
    def read(self) -> int:
        """Records in the file: rows, and what could not become one."""
        return int(self.table.num_rows) + len(self.refused)
