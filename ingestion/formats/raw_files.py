"""Defines what a reader hands on: the rows of one file as they came, and the records it could not read."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any, Self, TypeAlias

import numpy as np
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


Rows: TypeAlias = "np.ndarray[Any, np.dtype[np.bool_]]"


@dataclass(frozen=True)
class ParsedText:
    """What a text file holds: rows of strings with the number of each, records that are none, columns left out."""

    table: pa.Table
    numbers: pa.Array
    refused: list[Refused]
    dropped: tuple[str, ...]
    wrong: dict[str, Rows] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class RawFile:
    """One file, read. `table` has the contract's columns that the file has, `numbers` the record of each row.

    `wrong`: column -> rows in which it held a value of a kind that cannot be there, such as true for an identifier.
    """

    name: str
    format: str
    table: pa.Table
    numbers: pa.Array
    refused: tuple[Refused, ...] = ()
    families: dict[str, str] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()
    wrong: dict[str, Rows] = field(default_factory=dict)

    @classmethod
    def of_text(cls, name: str, kind: str, parsed: ParsedText) -> Self:
        """Return the rows of a text file, whose values have no types."""
        return cls(
            name=name,
            format=kind,
            table=parsed.table,
            numbers=parsed.numbers,
            refused=tuple(parsed.refused),
            families=dict.fromkeys(parsed.table.column_names, "any"),
            dropped=parsed.dropped,
            wrong=parsed.wrong,
        )

    @property
    def read(self) -> int:
        """Records in the file: rows, and what could not become one."""
        return int(self.table.num_rows) + len(self.refused)
