"""Input files broken at random: whatever comes in, every row is accounted for, and nothing but our errors comes out.

`run(seed, count)` breaks `count` files, each in a way drawn from its own seed, and lands them all.
"""

from __future__ import annotations

import gzip
import os
import pickle
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from contracts.errors import CaravanError
from ingestion.landing.land import land
from ingestion.landing.report import FileReport
from tests.ingestion.builders import KEY, NOW, csv_bytes, json_bytes, lake, parquet, rows

PAYLOADS = (
    '=cmd|" /C touch {}"!A0',
    "{{{{ cycler.__init__.__globals__.os.system('touch {}') }}}}",
    "$(touch {})",
    "__import__('os').system('touch {}')",
    "'; COPY (SELECT 1) TO '{}'; --",
    "!!python/object/apply:os.system ['touch {}']",
)
WAYS = (
    "truncate",
    "flip",
    "nul",
    "delete",
    "repeat",
    "huge field",
    "encoding",
    "columns",
    "types",
    "payload",
    "pickle",
    "duplicates",
    "times",
    "noise",
    "quotes",
)


@dataclass
class Result:
    """What became of the files. `failures` must be empty."""

    count: int = 0
    rows: int = 0
    kept: int = 0
    refused: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)


class Bomb:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.path}",)


def run(seed: int, count: int) -> Result:
    """Break and land `count` files. The same seed breaks them in the same way."""
    result = Result()
    with tempfile.TemporaryDirectory(prefix="caravan-broken-") as folder:
        canary = Path(folder) / "executed"
        where = lake(Path(folder))
        for number in range(count):
            random = np.random.default_rng([seed, number])
            way = WAYS[int(random.integers(len(WAYS)))]
            path = Path(folder) / f"{number}-{way.replace(' ', '-')}"
            data, there = _broken(way, random, path, canary)
            path.write_bytes(data)
            name = f"file {number} of seed {seed} ({way})"
            try:
                report = land(where, [path], pseudonymizer=KEY, now=NOW).files[0]
            except CaravanError as error:
                result.failures.append(f"{name}: not set aside: {error}")
            except BaseException as error:
                result.failures.append(f"{name}: {type(error).__name__}: {error}")
            else:
                _count(result, report, name, there)
            if canary.exists():
                result.failures.append(f"{name}: executed")
                canary.unlink()
            path.unlink()
    return result


def _count(result: Result, report: FileReport, name: str, there: int | None) -> None:
    result.count += 1
    result.rows += report.read
    result.kept += report.kept
    result.reasons.update(report.quarantined)
    if report.status == "refused":
        result.refused += 1
        if not report.reason:
            result.failures.append(f"{name}: refused without a reason")
    elif report.read != report.kept + sum(report.quarantined.values()):
        result.failures.append(f"{name}: {report.read} rows read, {report.kept} kept, {report.quarantined}")
    elif there is not None and report.read != there:
        result.failures.append(f"{name}: {report.read} rows read of {there}")


def _broken(way: str, random: np.random.Generator, path: Path, canary: Path) -> tuple[bytes, int | None]:
    """A broken file, and how many rows it has where that can be told."""
    events = rows(int(random.integers(1, 60)), prefix=f"f{random.integers(1 << 40)}")
    chosen = [n for n in range(len(events)) if random.random() < 0.3]
    if way == "payload":
        for n in chosen:
            column = str(random.choice(["event_id", "user_id", "item_id", "kind", "query", "session_id"]))
            events[n][column] = str(random.choice(PAYLOADS)).format(canary)
    if way == "duplicates":
        for n in chosen:
            events[n] = events[0] | {"value": float(n)}
    if way == "times":
        for n in chosen:
            year = int(random.choice([1, 1969, 1990, 2023, 2025, 2262, 9999]))
            events[n]["event_time"] = events[n]["event_time"].replace(year=year)
    if way == "huge field":
        for n in chosen[:3]:
            events[n]["query"] = "x" * int(random.integers(300, 3_000_000))
    kind = "csv" if way == "quotes" else str(random.choice(["parquet", "csv", "jsonl"]))
    if kind == "parquet":
        data = parquet(events, path).read_bytes()
    else:
        data = csv_bytes(events) if kind == "csv" else json_bytes(events)
    data = _damaged(way, data, random, canary)
    there = len(events) if way == "quotes" else None
    return (gzip.compress(data) if random.random() < 0.3 else data), there


def _stray_quotes(data: bytes, random: np.random.Generator) -> bytes:
    """A column outside of the contract; a quote opens in one of its values, and closes in another of them."""
    head, *lines = data.replace(b'red, ""warm"" socks', b"socks").replace(b'"', b"").splitlines()
    notes = [b"x"] * len(lines)
    first, last = sorted(random.integers(len(lines), size=2))
    notes[first] = b'"5 inch'
    notes[last] = bytes(random.choice([b'10"', b'10" disk', b'"fine"']))
    return b"\n".join([head + b",note", *(line + b"," + note for line, note in zip(lines, notes, strict=True))])


def _damaged(way: str, data: bytes, random: np.random.Generator, canary: Path) -> bytes:
    at = int(random.integers(len(data)))
    size = int(random.integers(1, 200))
    if way == "truncate":
        return data[:at]
    if way == "flip":
        changed = bytearray(data)
        for place in random.integers(0, len(data), int(random.integers(1, 20))):
            changed[place] ^= 1 << int(random.integers(8))
        return bytes(changed)
    if way == "nul":
        return data[:at] + b"\0" * size + data[at:]
    if way == "delete":
        return data[:at] + data[at + size :]
    if way == "repeat":
        return data + data[at:]
    if way == "encoding":
        return data.decode("latin-1").encode(str(random.choice(["utf-16", "utf-32", "cp500"]))) + b"\xfc\xe4\n"
    if way == "columns":
        return data.replace(b"user_id", bytes(random.choice([b"user_ie", b"user__\n", b"event_id", b"us,r_id"])))
    if way == "types":
        return data.replace(b'"', b"").replace(b"2024-", b"17") if at % 2 else data.replace(b":", b': {"a": 1}, "b":')
    if way == "pickle":
        bomb = pickle.dumps(Bomb(canary), protocol=int(random.integers(0, 6)))
        return bomb if at % 2 else data + bomb
    if way == "quotes":
        return _stray_quotes(data, random)
    if way == "noise":
        return bytes(random.bytes(size * 50))
    return data
