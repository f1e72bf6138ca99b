"""Records what changed in the region's buckets since the last snapshot, so that a restore can go beyond it.

The records are signed notes. Copies of objects are uploaded first and the note last, so what a note names is in the
vault. Each names the note before it, so a note that is damaged or gone is told from one that somebody else put there,
which is passed over.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from contracts.errors import Conflict, Tampered
from contracts.settings import Settings
from recovery.shipping.objects import Inventory, index
from recovery.vault import manifest as manifests
from recovery.vault import presence
from recovery.vault.bucket import DAMAGED
from recovery.vault.manifest import Entry
from recovery.vault.names import Kind, of_kind
from recovery.vault.vault import Vault

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: Microseconds since then that a time can have at most, and how a note begins.
_LATEST, _HEAD = 250_000_000_000_000_000, b'{"body":'


@dataclass(frozen=True)
class _Note:
    """One note in the vault: `body` is None where no version is what we signed, which `why` explains."""

    key: str
    body: dict[str, Any] | None
    why: str = ""
    like_ours: bool = True


def write_journal(vault: Vault, s: Settings, system: str, at: datetime, entries: Sequence[Entry]) -> None:
    """Record that these objects are new or different as of `at`."""
    before = next((note.key for note in _newest_first(vault, s, system) if note.body is not None), "")
    body = {
        "system": system, "at": at.isoformat(), "before": before, "entries": [asdict(entry) for entry in entries],
    }  # fmt: skip
    try:
        vault.store.put(_key(system, at), manifests.sign(body, s), if_absent=True)
    except Conflict:
        return  # the same microsecond: another process noted the same


def since(vault: Vault, s: Settings, system: str, after: datetime, until: datetime | None) -> Inventory:
    """Return everything recorded after `after`, up to `until`; the newest note of an object counts.

    Raises Tampered when one of our notes cannot be read.
    """
    found: Inventory = {}
    for note in _ours(vault, s, system, after, until):
        if note.body is None:
            raise Tampered(note.why, remedy="take the snapshot before it")
        found |= index(_entries(note.body))
    return found


def trusted_until(
    vault: Vault, s: Settings, system: str, after: datetime, until: datetime | None
) -> tuple[datetime | None, str]:
    """Return until when every note after `after` is intact and what it names exists.

    The second value says what is wrong with the next note. When all are fine, they are `until` and an empty string.
    """
    named: dict[str, list[Entry]] = {}
    end, why = until, ""
    for note in _ours(vault, s, system, after, until):
        if note.body is None:
            end, why = _before(note.key), note.why
            break
        named[note.key] = _entries(note.body)
    if presence.lacking(vault, [entry for entries in named.values() for entry in entries]):
        for key, entries in named.items():
            if wrong := presence.lacking(vault, entries):
                return _before(key), wrong
    return end, why


def _entries(body: dict[str, Any]) -> list[Entry]:
    return [Entry(**entry) for entry in body["entries"]]


def _ours(vault: Vault, s: Settings, system: str, after: datetime, until: datetime | None) -> list[_Note]:
    """Return our notes of a stretch of time, oldest first; one that cannot be read is there without a body.

    What the chain of notes shows to be somebody else's is passed over.
    """
    keys = [key for key in _keys(vault, system) if _at(key) > after and (until is None or _at(key) <= until)]
    notes = [_read(vault, key, s) for key in sorted(keys)]
    good = [note for note in notes if note.body is not None]
    # a note of an earlier version names none before it: nothing is known of what lies between, and form decides
    chained = {note.key: str(note.body.get("before", "")) for note in good if note.body and "before" in note.body}
    found, read = list[_Note](), {note.key for note in notes}
    for place, note in enumerate(notes):
        if note.body is None:
            follower = next((later.key for later in notes[place + 1 :] if later.body is not None), "")
            passed_over = chained.get(follower, "~") < follower  # the chain goes past it: one note names another
            if note.key not in chained.values() and (passed_over or not note.like_ours):
                vault.foreign[note.key] = note.why
                continue
        elif (missing := chained.get(note.key, "")) and missing not in read and after < _at(missing) < _at(note.key):
            found.append(_Note(missing, None, f"{missing} is not in the vault"))
        found.append(note)
    return found


def _newest_first(vault: Vault, s: Settings, system: str) -> Iterator[_Note]:
    for key in sorted(_keys(vault, system), reverse=True):
        yield _read(vault, key, s)


def _keys(vault: Vault, system: str) -> Iterator[str]:
    for match in of_kind(vault.store.names(f"journal/{system}/"), Kind.NOTE, vault.foreign):
        if int(match[2]) <= _LATEST:
            yield match[0]
        else:
            vault.foreign[match[0]] = "a note of no time"


def _read(vault: Vault, key: str, s: Settings) -> _Note:
    """Read the newest version of a note that we signed: the vault's writer can write another one over it."""
    why, like_ours = f"{key} is not in the vault", False
    for data in vault.store.versions(key):
        like_ours = like_ours or _like_ours(data)
        try:
            body = manifests.open_signed(data, key, s)
            _entries(body)
        except Tampered as error:
            why = error.what
        except (KeyError, TypeError):
            why = f"{key} lacks something"
        else:
            return _Note(key, body)
    return _Note(key, None, why, like_ours or why.endswith("is not in the vault"))


def _like_ours(data: bytes) -> bool:
    """Check whether bytes could be one of our notes, damaged; of bytes that a disk lost nothing is left to see."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        whole = len(data) > len(_HEAD)
        return data is DAMAGED or (whole and sum(a != b for a, b in zip(data, _HEAD, strict=False)) <= 1)
    return isinstance(document, dict) and {"body", "signature"} & document.keys() != set()


def _before(name: str) -> datetime:
    return _at(name) - timedelta(microseconds=1)


def _at(name: str) -> datetime:
    """Return when a note was written."""
    return _EPOCH + timedelta(microseconds=int(name[-21:-5]))


def _key(system: str, at: datetime) -> str:
    return f"journal/{system}/{int(at.timestamp() * 1e6):016d}.json"
