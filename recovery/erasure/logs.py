"""Erases shoppers from the logs below a region's home: their lines become blanks of the same length.

The engines and Envoy append meanwhile, and the readers (the replicator, the nightly collection and the controller)
remember their offsets. So a file keeps its name and size, and every other line its offset; all readers skip blank
lines. The lines to blank are recorded first, so that after a power cut the next look finishes the work.

The edge's logs know a shopper only by an opaque id: the clear identifier, if the shop sends it, or a cookie. Lines are
matched by that id, or by the request in which the shopper was shown something. A cookie belongs to the shopper when no
request with it showed something to anybody else.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from artifacts.files import atomic_write, fsync_folder
from contracts.region_paths import ACCESS_LOG, ANSWER_LOG, EVENT_LOG, IMPRESSION_LOG
from recovery.erasure.rows import NAMES, ErasureSubject

JOURNAL = ".erasing.json"
#: Blanked in this order: impressions and events link the edge's logs to a shopper, so they are last.
KINDS = {
    "edge log": f"logs/{ACCESS_LOG}*",
    "answer log": f"{ANSWER_LOG}*/*/*.jsonl",
    "impression log": f"{IMPRESSION_LOG}*/*/*.jsonl",
    "event log": f"{EVENT_LOG}*/*/*.jsonl",
}
#: Logs whose lines are events, and name shoppers by pseudonym.
_EVENTS = ("event log", "impression log")
#: A last line without a newline may still be being written; after this many seconds it counts as torn.
_TORN_AFTER = 60.0

Line = dict[str, Any]
#: Byte offsets in the file where a line begins and ends, without its newline.
Span = tuple[int, int]


@dataclass
class FoundLines:
    """The lines to blank, per kind of log and file."""

    spans: dict[str, dict[Path, list[Span]]] = field(default_factory=dict)

    @property
    def lines(self) -> Counter[str]:
        return Counter({kind: sum(map(len, files.values())) for kind, files in self.spans.items()})


def find_lines(home: Path, whom: ErasureSubject) -> FoundLines:
    """Find every line of the erased below a region's home, after finishing any blanking that was interrupted."""
    finish(home)
    requests, opaque = _links(home, whom)
    found = FoundLines()
    for kind, pattern in KINDS.items():
        goes = of_events(whom) if kind in _EVENTS else _of_edge(requests, opaque)
        files = {path: spans for path in sorted(home.glob(pattern)) if (spans := list(_spans(path, goes)))}
        found.spans[kind] = files
    return found


def read_lines(found: FoundLines) -> Iterator[tuple[str, Line]]:
    """Yield the lines that were found, with their kind of log; one that is no JSON as text."""
    for kind, files in found.spans.items():
        for path, spans in files.items():
            with path.open("rb") as file:
                for start, end in spans:
                    line = os.pread(file.fileno(), end - start, start)
                    yield kind, _parsed(line) or {"text": line.decode(errors="replace")}


def blank(home: Path, found: FoundLines) -> None:
    """Blank the lines that were found, one kind after the other; all of it is on disk when this returns."""
    for kind in KINDS:
        files = found.spans.get(kind, {})
        if files:
            plan = {path.relative_to(home).as_posix(): spans for path, spans in files.items()}
            atomic_write(home / JOURNAL, json.dumps(plan), durable=True)
            finish(home)


def finish(home: Path) -> None:
    """Finish the blanking recorded in the journal file, if there is any."""
    journal = home / JOURNAL
    if not journal.exists():
        return
    for name, spans in json.loads(journal.read_text()).items():
        path = home / name
        if path.exists():
            with path.open("r+b") as file:
                for start, end in spans:
                    os.pwrite(file.fileno(), b" " * (end - start), start)
                os.fsync(file.fileno())
    journal.unlink()
    fsync_folder(home)


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the offset of each line, and the line without its newline; an unfinished last line only if it is torn."""
    start = 0
    try:
        with path.open("rb") as file:
            for line in file:
                whole = line.endswith(b"\n")
                if whole or time.time() - os.fstat(file.fileno()).st_mtime > _TORN_AFTER:
                    yield start, line[:-1] if whole else line
                start += len(line)
    except FileNotFoundError:
        return  # the edge's log was moved away meanwhile


def _spans(path: Path, goes: Callable[[bytes], bool]) -> Iterator[Span]:
    for start, line in _lines(path):
        if goes(line):
            yield start, start + len(line)


def _parsed(line: bytes) -> Line | None:
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


def _moment(value: Any) -> datetime | None:
    try:
        if isinstance(value, int | float):
            return datetime.fromtimestamp(value, UTC)
        at = datetime.fromisoformat(str(value))
    except (ValueError, OverflowError, OSError):
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def of_events(whom: ErasureSubject) -> Callable[[bytes], bool]:
    """Return a test whether an event log line is removed; an unreadable one is if it names an erased shopper."""
    names = [name.encode() for name in whom.until]

    def goes(line: bytes) -> bool:
        if not _any_in(names, line, whom):
            return False
        read = _parsed(line)
        if read is None:
            return True
        at = _moment(read.get("event_time"))
        if whom.goes(read.get("user_id"), at) or whom.goes(read.get("session_id"), at):
            if read.get("session_id"):
                whom.sessions.add(read["session_id"])
            return True
        return False

    return goes


def _any_in(names: list[bytes], line: bytes, whom: ErasureSubject) -> bool:
    """Check cheaply, before a line is parsed: a single name is searched for, several are looked up."""
    if len(names) == 1:
        return names[0] in line
    return any(found in whom.until for found in NAMES.findall(line.decode(errors="replace")))


def _of_edge(requests: dict[str, datetime], opaque: dict[str, datetime]) -> Callable[[bytes], bool]:
    """Return a test whether a line of the edge's or the answer log goes: by request, or by the shopper's opaque id."""

    def goes(line: bytes) -> bool:
        read = _parsed(line)
        if read is None:
            return False
        if read.get("request_id", read.get("id")) in requests:
            return True
        until = opaque.get(str(read.get("shopper")))
        at = _moment(read.get("time", read.get("t")))
        return until is not None and (at is None or at <= until)

    return goes


def _links(home: Path, whom: ErasureSubject) -> tuple[dict[str, datetime], dict[str, datetime]]:
    """Return the requests in which the erased were shown something, and the opaque ids that are theirs alone.

    Both map to the time up to which lines are removed.
    """
    opaque = dict(whom.until) | {clear: whom.until[name] for clear, name in whom.clear.items() if name in whom.until}
    requests: dict[str, datetime] = {}
    for line in _read(home, *_EVENTS):
        name = line.get("user_id")
        if line.get("request_id") and whom.goes(name, _moment(line.get("event_time"))):
            requests[str(line["request_id"])] = whom.until[str(name)]
    cookies: dict[str, datetime] = {}
    asked: dict[str, str] = {}  # request -> opaque id, of those that may be theirs
    for line in _read(home, "answer log") if requests else ():
        if (until := requests.get(str(line.get("id")))) is not None and line.get("shopper"):
            cookies[str(line["shopper"])] = until
    for line in _read(home, "answer log") if cookies else ():
        if str(line.get("shopper")) in cookies:
            asked[str(line.get("id"))] = str(line["shopper"])
    for line in _read(home, *_EVENTS) if cookies else ():
        if line.get("user_id") not in whom.until:
            cookies.pop(asked.get(str(line.get("request_id")), ""), None)
    return requests, cookies | opaque


def _read(home: Path, *kinds: str) -> Iterator[Line]:
    for path in sorted(path for kind in kinds for path in home.glob(KINDS[kind])):
        for _, line in _lines(path):
            read = _parsed(line)
            if read is not None:
                yield read
