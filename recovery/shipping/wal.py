"""Ships the write-ahead log (WAL) to the vault as it is written, without waiting for a full WAL segment file.

A replication slot on the saved database keeps what is not in the vault yet; we report as flushed what the vault has
stored. Pieces are at `wal/<system>/<timeline>/<start>-<end>` (positions in hexadecimal, encrypted), each beginning
where the one before ends. The first begins at the start of a segment file, because the server reads the first page of
such a file before anything else in it.
"""

from __future__ import annotations

import select
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contracts.errors import Conflict, RecoveryError
from contracts.settings import Settings
from recovery.vault.encryption import PART
from recovery.vault.manifest import Segment
from recovery.vault.names import Kind, of_kind
from recovery.vault.vault import Vault

SEGMENT = 16 << 20
SLOT = "caravan_vault"
#: Longest time, in seconds, that WAL is collected before it is uploaded.
SHIP_EVERY = 3.0
#: Longest time, in seconds, between two status messages to the WAL sender.
_SAY_EVERY = 5.0
#: Seconds that a snapshot waits for a WAL sender that sends nothing.
SILENCE = 60.0


@dataclass(frozen=True, kw_only=True)
class Piece:
    """One segment of WAL in the vault: positions in bytes, and its key."""

    timeline: int
    start: int
    end: int
    key: str


def lsn(text: str) -> int:
    """Parse an LSN such as '0/2000028' into a position in bytes."""
    high, _, low = text.partition("/")
    return (int(high, 16) << 32) + int(low, 16)


def connect(s: Settings, *, replication: bool = False, database: str = "postgres") -> Any:
    """Connect to the region's database. Raises RecoveryError when it does not answer."""
    import psycopg2
    from psycopg2.extras import PhysicalReplicationConnection

    url = s.database_url(database).replace("postgresql+psycopg2://", "postgresql://")
    factory = {"connection_factory": PhysicalReplicationConnection} if replication else {}
    try:
        connection = psycopg2.connect(url, connect_timeout=10, application_name="caravan-vault", **factory)
    except psycopg2.OperationalError as error:
        raise RecoveryError(
            f"the database of {s.region} does not answer", remedy="`caravan status` shows whether it runs"
        ) from error
    if not replication:
        connection.autocommit = True
    return connection


def identify(s: Settings) -> tuple[str, int, int]:
    """Return the system identifier, timeline and flushed position, in bytes, of the region's database."""
    with closing(connect(s)) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT (SELECT system_identifier FROM pg_control_system()), "
            "(SELECT timeline_id FROM pg_control_checkpoint()), pg_current_wal_flush_lsn()"
        )
        system, timeline, position = cursor.fetchone()
        return str(system), int(timeline), lsn(position)


def pieces(vault: Vault, system: str) -> list[Piece]:
    """Return all WAL of a database in the vault, by timeline and position; delete markers hide none."""
    found = []
    for match in of_kind(vault.store.names(f"wal/{system}/"), Kind.WAL, vault.foreign):
        timeline, start, end = (int(text, 16) for text in match.groups()[1:])
        found.append(Piece(timeline=timeline, start=start, end=end, key=match[0]))
    return sorted(found, key=lambda p: (p.timeline, p.start, p.end))


def contiguous(
    found: Iterable[Piece], timeline: int, start: int, ours: Callable[[str], bool] = lambda _key: True
) -> list[Piece]:
    """Return the pieces that cover the WAL from `start` on without a gap, as far as those that are `ours` reach.

    Of several, the one that begins first is taken: the server reads the first page of a segment file before the rest.
    """
    chosen: list[Piece] = []
    reached = start
    for piece in sorted(found, key=lambda one: (one.start, one.end)):
        if piece.timeline == timeline and piece.start <= reached < piece.end and ours(piece.key):
            chosen.append(piece)
            reached = piece.end
    return chosen


def ours(vault: Vault, listed: Iterable[Segment] = ()) -> Callable[[str], bool]:
    """Return whether a piece is ours: a snapshot lists it, or it unseals under its name; a name is nobody's word."""
    known = {segment.part.key for segment in listed}
    return lambda key: key in known or vault.is_ours(key)


def segment_start(position: int) -> int:
    return position - position % SEGMENT


class Shipper:
    """Streams one database's WAL into the vault, until told to stop or until a position is there."""

    def __init__(self, s: Settings, vault: Vault) -> None:
        self._s = s
        self._vault = vault
        self.system, self.timeline, _ = identify(s)
        self.shipped = 0

    def ensure_slot(self) -> int:
        """Return the position to stream from, creating the replication slot if needed.

        A slot that fell too far behind is recreated, which leaves a gap in the WAL.
        """
        # the vault is asked first: without one, a slot would only fill the disk
        here = [p for p in pieces(self._vault, self.system) if p.timeline == self.timeline]
        with closing(connect(self._s)) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT wal_status, restart_lsn FROM pg_replication_slots WHERE slot_name = %s", (SLOT,))
            row = cursor.fetchone()
            if row is not None and (row[0] == "lost" or row[1] is None):
                cursor.execute("SELECT pg_drop_replication_slot(%s)", (SLOT,))
                row = None
            if row is None:
                cursor.execute("SELECT NULL, lsn FROM pg_create_physical_replication_slot(%s, true)", (SLOT,))
                row = cursor.fetchone()
            kept = segment_start(lsn(row[1]))
        covering = contiguous(here, self.timeline, kept, ours(self._vault))
        self.shipped = covering[-1].end if covering else kept
        return self.shipped

    def run(self, stop: threading.Event, *, until: int | None = None, going: Callable[[], bool] = lambda: True) -> None:
        """Ship WAL until `stop` is set, `going` returns False, or everything before `until` is in the vault.

        Raises Conflict when another shipper holds the slot, RecoveryError when the database goes away.
        """
        import psycopg2

        start = self.ensure_slot()
        if until is not None and start >= until:
            return
        with closing(connect(self._s, replication=True)) as connection, connection.cursor() as cursor:
            try:
                cursor.start_replication(slot_name=SLOT, start_lsn=start)
                self._stream(cursor, start, lambda: stop.is_set() or not going(), until)
            except psycopg2.errors.ObjectInUse as error:
                raise Conflict("another process ships this database's log", remedy="let it go on") from error
            except psycopg2.Error as error:
                raise RecoveryError(
                    f"the database's log cannot be streamed: {str(error).strip()}",
                    remedy="see `caravan logs postgres`",
                ) from error

    def _stream(self, cursor: Any, start: int, stopped: Callable[[], bool], until: int | None) -> None:
        waiting, position = bytearray(), start
        since = said = heard = time.monotonic()
        while True:
            message = cursor.read_message()
            if message is not None:
                if not waiting:
                    since = time.monotonic()
                if message.data_start != position + len(waiting):
                    raise RecoveryError("the log was sent with a gap", remedy="it is streamed again from the slot")
                waiting += message.payload
                heard = time.monotonic()
            reached = until is not None and position + len(waiting) >= until
            now = time.monotonic()
            ending = message is None and stopped()
            if waiting and (len(waiting) >= PART or now - since > SHIP_EVERY or reached or ending):
                position = self._ship(bytes(waiting), position)
                waiting.clear()
                cursor.send_feedback(write_lsn=position, flush_lsn=position, apply_lsn=position, force=True)
                said = now
            elif now - said > _SAY_EVERY:
                cursor.send_feedback(write_lsn=position, flush_lsn=position, apply_lsn=position, force=True)
                said = now
            if reached or ending:
                return
            if until is not None and now - heard > SILENCE:
                raise RecoveryError(
                    f"the database sends no log since {SILENCE:.0f} s: at {position:X}, not yet at {until:X}",
                    remedy="see `caravan logs postgres`, then take the snapshot again",
                )
            if message is None:
                select.select([cursor], [], [], 0.2)

    def _ship(self, data: bytes, start: int) -> int:
        end = start + len(data)
        key = f"wal/{self.system}/{self.timeline:08X}/{start:016X}-{end:016X}"
        self._vault.keep_piece(data, key)  # it may be there: we died before we could tell the slot
        self.shipped = end
        return end


def await_shipped(
    s: Settings, vault: Vault, until: int, *, seconds: float = 60.0, tell: Callable[[str], None] = lambda _t: None
) -> None:
    """Wait until everything before `until` is in the vault: shipped by the running shipper, or by this process.

    Raises RecoveryError when the running shipper does not get there within `seconds`.
    """
    deadline = time.monotonic() + seconds
    while True:
        shipper = Shipper(s, vault)
        try:
            shipper.run(threading.Event(), until=until)
            return
        except Conflict:
            tell("the running shipper brings the log")
            system, timeline, _ = identify(s)
            here = [p for p in pieces(vault, system) if p.timeline == timeline]
            if any(p.end >= until and vault.is_ours(p.key) for p in here):
                return
            if time.monotonic() > deadline:
                raise RecoveryError(
                    f"the log did not reach the vault within {seconds:.0f} s", remedy="see `caravan logs feed`"
                ) from None
            time.sleep(0.5)


def list_segments(vault: Vault, system: str, timeline: int, start: int, until: int) -> tuple[Segment, ...]:
    """Return the segments that hold the WAL from `start` to `until`. Raises RecoveryError when there is a gap."""
    chosen = contiguous(pieces(vault, system), timeline, start, ours(vault))
    if not chosen or chosen[-1].end < until:
        reached = chosen[-1].end if chosen else start
        raise RecoveryError(
            f"the log in the vault ends at {reached:X}, before {until:X}", remedy="take the snapshot again, in full"
        )
    found = []
    for piece in chosen:
        if piece.start < until:
            part = vault.piece(piece.key)
            found.append(Segment(of=f"wal/{timeline:08X}", start=piece.start, end=piece.end, part=part))
    return tuple(found)


def write_segments(parts: Iterator[tuple[int, bytes]], timeline: int, folder: Path) -> list[str]:
    """Write WAL, given as (position, bytes), as the 16 MiB segment files that a server reads.

    Returns the names of the files.
    """
    names: list[str] = []
    folder.mkdir(parents=True, exist_ok=True)
    for start, data in parts:
        done = 0
        while done < len(data):
            number, offset = divmod(start + done, SEGMENT)
            name = f"{timeline:08X}{number // 256:08X}{number % 256:08X}"
            length = min(SEGMENT - offset, len(data) - done)
            path = folder / name
            if name not in names:
                names.append(name)
                path.touch()
                with path.open("r+b") as file:
                    file.truncate(SEGMENT)
            with path.open("r+b") as file:
                file.seek(offset)
                file.write(data[done : done + length])
            done += length
    return names
