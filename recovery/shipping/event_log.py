"""Ships the event log to the vault as it grows: for each file, the bytes appended since last time.

A file of the log is only ever appended to, so a piece `logs/<system>/<path>/<start>-<end>` never changes. Pieces end
at a line end, so that a line torn by a crash is not shipped.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from artifacts import state_file
from contracts.errors import NotFound, Tampered
from contracts.region_paths import EVENT_LOG
from recovery.shipping.log_pieces import Span, contiguous, pieces
from recovery.shipping.wal import ours as _ours
from recovery.vault.encryption import PART
from recovery.vault.manifest import Part, Segment
from recovery.vault.vault import Vault

#: Record of what a restore wrote there: size per file, and the database it belongs to.
LAID_OUT = ".laid-out.json"
#: Most small pieces that a file may have once nobody writes it; a manifest names each.
MOST = 64
#: Seconds without a write after which a file of a past day counts as closed.
CLOSED = 3600.0


def events(path: Path) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """Yield every line of one file of the log, and the event in it.

    Skips a line that a crash tore, which was never acknowledged, and the blank lines of an erased shopper.
    """
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n") and line.strip():
                yield line, json.loads(line)


def ship(
    vault: Vault, system: str, home: Path, reached: dict[str, int] | None = None, *, known: Iterable[Segment] = ()
) -> dict[str, int]:
    """Upload what was appended; return how far each file is in the vault now, in bytes.

    Passing the last result as `reached` saves listing the vault. Pieces other than the `known` ones, which a snapshot
    lists, are read before they count: a name is nobody's word.
    """
    done = dict(reached) if reached is not None else _reached(vault, pieces(vault, system), known)
    root = home / EVENT_LOG
    for path in sorted(root.glob("*/*.jsonl")):
        name = path.relative_to(root).as_posix()
        before = done.get(name, 0)
        if (end := _send(vault, f"logs/{system}/{name}", path, before)) > before:
            done[name] = end
    return done


def merge(vault: Vault, system: str, home: Path, now: datetime | None = None, *, known: Iterable[Segment] = ()) -> int:
    """Upload files that arrived in many small pieces again in large ones, once their day is over.

    Returns how many files. Otherwise every manifest would name every few seconds of traffic there ever was.
    """
    now, merged, ours = now or datetime.now(UTC), 0, _ours(vault, known)
    for name, spans in pieces(vault, system).items():
        path, cover = home / EVENT_LOG / name, contiguous(spans, ours) if len(spans) > MOST else []
        if not cover or path.parent.name >= now.date().isoformat() or not path.exists():
            continue
        about = path.stat()
        whole = about.st_size >= cover[-1][1] and about.st_mtime < now.timestamp() - CLOSED
        if whole and len(cover) > MOST + 2 * about.st_size // PART:
            _send(vault, f"logs/{system}/{name}", path, 0)
            merged += 1
    return merged


def _send(vault: Vault, prefix: str, path: Path, start: int) -> int:
    """Upload what a file holds from `start` on, up to its last complete line; return the position reached."""
    with path.open("rb") as file:
        file.seek(start)
        while data := file.read(PART):
            whole = data.rfind(b"\n") + 1
            if whole == 0:
                break
            end = start + whole
            vault.keep_piece(data[:whole], f"{prefix}/{start:012X}-{end:012X}")
            start = end
            file.seek(start)
    return start


def _reached(vault: Vault, found: dict[str, list[Span]], known: Iterable[Segment]) -> dict[str, int]:
    ours = _ours(vault, known)
    covers = {path: contiguous(spans, ours) for path, spans in found.items()}
    return {path: cover[-1][1] for path, cover in covers.items() if cover}


def list_segments(
    vault: Vault, system: str, known: Iterable[Segment] = (), *, lenient: bool = False
) -> tuple[Segment, ...]:
    """Return all of the log in the vault as segments of a snapshot; `known` ones are not read again.

    A file ends before a piece that is not what we wrote, or cannot be read. With `lenient` it does not: known segments
    count though the vault no longer has them, and a gap before a piece that is ours is included as a segment that
    cannot be read, so that what comes after it in its file keeps its place.
    """
    known = tuple(known)
    parts = {segment.part.key: segment.part for segment in known}
    there, ours = pieces(vault, system), _ours(vault, known)
    if lenient:
        for segment in known:
            there.setdefault(segment.of, []).append((segment.start, segment.end, segment.part.key))
    found = []
    for path, spans in sorted(there.items()):
        cover = contiguous(spans, ours)
        while lenient and (gap := _gap(spans, ours, f"logs/{system}/{path}", cover[-1][1] if cover else 0)):
            cover += [gap, *contiguous(spans, ours, gap[1])]
        for start, end, key in cover:
            nothing = Part(key=key, size=0, sha256="")
            part = parts.get(key) or (vault.piece(key) if ours(key) else nothing)
            found.append(Segment(of=path, start=start, end=end, part=part))
    return tuple(found)


def _gap(spans: Iterable[Span], ours: Callable[[str], bool], prefix: str, reached: int) -> Span | None:
    """Return what lacks between `reached` and the next piece that is ours; None when there is none."""
    later = sorted(span for span in spans if span[0] > reached)
    start = next((start for start, _, key in later if ours(key)), None)
    return None if start is None else (reached, start, f"{prefix}/{reached:012X}-{start:012X}")


def repair(vault: Vault, system: str, home: Path, damaged: Iterable[Segment], known: Iterable[Segment]) -> set[str]:
    """Upload again, under their names, `damaged` segments and unreadable pieces that are not among `known`.

    Only where the region's own file still has those bytes. Returns the keys that were uploaded again.
    """
    wrong = {(segment.of, segment.start, segment.end, segment.part.key) for segment in damaged}
    listed = {segment.part.key for segment in known}
    for path, spans in pieces(vault, system).items():
        wrong |= {(path, start, end, key) for start, end, key in spans if key not in listed and not vault.is_ours(key)}
    mended = set()
    for path, start, end, key in sorted(wrong):
        with suppress(FileNotFoundError), (home / EVENT_LOG / path).open("rb") as file:
            file.seek(start)
            data = file.read(min(end - start, 2 * PART))
            if len(data) == end - start and data.endswith(b"\n"):
                vault.keep_sealed(data, key, over=True)
                vault.foreign.pop(key, None)
                mended.add(key)
    return mended


def unpack(
    vault: Vault, system: str, segments: Iterable[Segment], home: Path, *, tell: Callable[[str], None] | None = None
) -> int:
    """Write the log of a database below `home` as it was; return the bytes written.

    What an earlier call wrote is not fetched again. Everything else there is first moved aside, to
    `event-log.before-<time>`: engines name their files again in each region, so a file of the same name may be a
    different one, and neither may stand in for the other. A piece that cannot be read raises Tampered or NotFound;
    with `tell`, the loss is reported to it and the piece's place is left blank.
    """
    root = home / EVENT_LOG
    record = state_file.read(root / LAID_OUT) or {}
    reached: dict[str, int] = record.get("files", {}) if record.get("system") == system else {}
    _set_aside(root, reached)
    files: dict[str, list[Segment]] = {}
    for segment in segments:
        files.setdefault(segment.of, []).append(segment)
    written, reader = 0, _Reader(vault, system, lenient=tell is not None)
    for name, parts in files.items():
        lacking = [segment for segment in parts if segment.end > reached.get(name, 0)]
        if lacking:
            written += _append(lacking, root / name, reader)
            reached[name] = lacking[-1].end
            if tell is not None and reader.lost:
                del reached[name]  # another restore may find in the vault what is missing now
                for sentence in reader.lost:
                    tell(sentence)
                reader.lost.clear()
            state_file.write(root / LAID_OUT, {"system": system, "files": reached})
    return written


def _set_aside(root: Path, laid_out: dict[str, int]) -> None:
    """Move aside files that are not exactly what was unpacked; forget the record of those that are gone."""
    aside = root.with_name(f"{EVENT_LOG}.before-{datetime.now(UTC):%Y%m%dT%H%M%S}")
    present = {path.relative_to(root).as_posix(): path for path in root.glob("*/*.jsonl")}
    for name, path in present.items():
        if laid_out.get(name) != path.stat().st_size:
            laid_out.pop(name, None)
            (aside / name).parent.mkdir(parents=True, exist_ok=True)
            path.replace(aside / name)
    for name in laid_out.keys() - present.keys():
        del laid_out[name]


class _Reader:
    """Reads segments of the log.

    A segment that cannot be read raises; with `lenient`, its place is blank and `lost` says so.
    """

    def __init__(self, vault: Vault, system: str, *, lenient: bool) -> None:
        self._vault = vault
        self._system = system
        self._lenient = lenient
        self._pieces: dict[str, list[tuple[int, int, str]]] | None = None  # a long listing, which few need
        self.lost: list[str] = []

    def read(self, segment: Segment) -> bytes:
        try:
            return self._vault.unsealed(segment.part)
        except (Tampered, NotFound) as error:
            if not self._lenient:
                raise
            return self._salvaged(segment, error.what)

    def _salvaged(self, segment: Segment, why: str) -> bytes:
        """Return what else the vault has of a segment.

        That is: uploaded again under the same name, or in other pieces.
        """
        if self._pieces is None:
            self._pieces = pieces(self._vault, self._system)
        whole, reached = bytearray(), segment.start
        for start, end, key in self._pieces.get(segment.of, []):
            if end <= reached or start >= segment.end:
                continue
            try:
                data = self._vault.sealer.unseal(self._vault.unlisted(key), key)
            except (Tampered, NotFound):
                continue
            if start > reached:
                whole += self._blank(segment.of, reached, start, why)
                reached = start
            whole += data[reached - start : segment.end - start]
            reached = min(end, segment.end)
        if reached < segment.end:
            whole += self._blank(segment.of, reached, segment.end, why)
        return bytes(whole)

    def _blank(self, path: str, start: int, end: int, why: str) -> bytes:
        self.lost.append(f"bytes {start} to {end} of {path} of the event log are lost: {why}")
        return b" " * (end - start - 1) + b"\n"  # as where a shopper was erased


def _append(segments: Sequence[Segment], path: Path, reader: _Reader) -> int:
    """Write segments that overlap or follow each other; return the bytes written.

    They are on disk when this returns.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with path.open("r+b" if path.exists() else "w+b") as file:
        for segment in segments:
            data = reader.read(segment)
            file.seek(segment.start)
            file.write(data)
            written += len(data)
        file.truncate()
        file.flush()
        os.fsync(file.fileno())
    return written
