"""The event log, sent on as it grows: of each file, what was added since.

A file of the log is only ever appended to, so a piece `logs/<system>/<path>/<start>-<end>` never changes. Pieces end
with a line, so that a line torn by a crash does not go over.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from contracts.errors import Conflict
from recovery.manifest import Part, Stretch
from recovery.seal import PART
from recovery.vault import Vault

FOLDER = "event-log"


def events(path: Path) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """Every line of one file of the log, and the event in it.

    Left out are a line that a crash tore, which was never acknowledged, and the blank ones of an erased shopper.
    """
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n") and line.strip():
                yield line, json.loads(line)


def pieces(vault: Vault, system: str) -> dict[str, list[tuple[int, int, str]]]:
    """(start, end, key) of what is in the vault, per file of the log, in order; a delete marker hides none."""
    found: dict[str, list[tuple[int, int, str]]] = {}
    prefix = f"logs/{system}/"
    for key in vault.store.names(prefix):
        path, _, span = key.removeprefix(prefix).rpartition("/")
        start, _, end = span.partition("-")
        found.setdefault(path, []).append((int(start, 16), int(end, 16), key))
    return {path: sorted(spans) for path, spans in found.items()}


def ship(vault: Vault, system: str, home: Path, reached: dict[str, int] | None = None) -> dict[str, int]:
    """Send what was appended; how far each file is in the vault now. `reached` spares the listing."""
    done = dict(reached) if reached is not None else _reached(pieces(vault, system))
    root = home / FOLDER
    for path in sorted(root.glob("*/*.jsonl")):
        name = path.relative_to(root).as_posix()
        with path.open("rb") as file:
            start = done.get(name, 0)
            file.seek(start)
            while data := file.read(PART):
                whole = data.rfind(b"\n") + 1
                if whole == 0:
                    break
                end = start + whole
                with suppress(Conflict):  # another process sent just this
                    vault.keep_sealed(data[:whole], f"logs/{system}/{name}/{start:012X}-{end:012X}")
                done[name] = start = end
                file.seek(start)
    return done


def _reached(found: dict[str, list[tuple[int, int, str]]]) -> dict[str, int]:
    return {path: unbroken(spans)[-1][1] for path, spans in found.items() if unbroken(spans)}


def unbroken(spans: Iterable[tuple[int, int, str]]) -> list[tuple[int, int, str]]:
    """The pieces that give the file from its beginning without a gap; they overlap where two processes sent some."""
    chosen: list[tuple[int, int, str]] = []
    reached = 0
    for start, end, key in sorted(spans):
        if start <= reached < end:
            chosen.append((start, end, key))
            reached = end
    return chosen


def stretches(vault: Vault, system: str, known: Iterable[Stretch] = ()) -> tuple[Stretch, ...]:
    """Everything of the log that is in the vault, as files of a snapshot; `known` ones are not read again."""
    parts = {stretch.part.key: stretch.part for stretch in known}
    found = []
    for path, spans in sorted(pieces(vault, system).items()):
        for start, end, key in unbroken(spans):
            if key not in parts:
                data = vault.unlisted(key)
                parts[key] = Part(key=key, size=len(data), sha256=hashlib.sha256(data).hexdigest())
            found.append(Stretch(of=path, start=start, end=end, part=parts[key]))
    return tuple(found)


def lay_out(vault: Vault, stretches: Iterable[Stretch], home: Path) -> int:
    """Write the log below `home` as it was; bytes written. A file that is longer there already is left alone."""
    written = 0
    for stretch in stretches:
        path = home / FOLDER / stretch.of
        path.parent.mkdir(parents=True, exist_ok=True)
        present = path.stat().st_size if path.exists() else 0
        if present >= stretch.end:
            continue
        data = vault.unsealed(stretch.part)
        with path.open("r+b" if path.exists() else "w+b") as file:
            file.seek(stretch.start)
            file.write(data)
            file.truncate()
        written += len(data)
    return written
