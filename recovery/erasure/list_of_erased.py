"""Keeps the list of erased shoppers: outside snapshots, and applied again after every restore.

An entry is written before anything is removed, into the vault and into the region's own store, as
`erasures/<microseconds>-<random>`. It is encrypted and bound to its name, so the list names nobody to a reader without
the snapshot key. The vault's writer cannot delete it. A list that cannot be read whole is an error, never a short list.

Anybody with the writer's credential can put something else there. A receipt beside each entry,
`erasure-receipts/<name>`, tells the two apart: an entry that cannot be read and has a receipt is ours and damaged; one
without is foreign, and is passed over.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from artifacts.publish import Store
from contracts.errors import Conflict, NotFound, SettingsError, Tampered
from contracts.events import CLOCK_SKEW
from contracts.settings import Settings
from ingestion.pseudonymize import PSEUDONYM, Pseudonymizer
from recovery.vault.bucket import Versioned
from recovery.vault.encryption import Sealer
from recovery.vault.names import Foreign, Kind, of_kind

PREFIX, RECEIPTS = "erasures/", "erasure-receipts/"
FORMAT = 1
#: Events dated up to this long after an erasure count as before it: a shop's clock may run ahead this far.
AHEAD: timedelta = CLOCK_SKEW


@dataclass(frozen=True, kw_only=True)
class Erasure:
    """One shopper, erased `at` (UTC) in `region`, `by` whom and why. Nothing here names the shopper in the clear."""

    pseudonym: str
    at: datetime
    by: str
    reason: str
    region: str

    @property
    def until(self) -> datetime:
        """Return the time up to which rows are removed. A shopper who comes back later is a new shopper."""
        return self.at + AHEAD


class ErasureList:
    """The entries in the vault and in the region's own store; either may be absent.

    `key_is_known` says that the snapshot key was found to be the right one: only then, or when something here can be
    read with it, can what cannot be read be told from what we wrote. `foreign` collects what is passed over.
    """

    def __init__(
        self, sealer: Sealer, *, own: Store | None = None, vault: Versioned | None = None, key_is_known: bool = False
    ) -> None:
        self._sealer = sealer
        self._own = own
        self._vault = vault
        self._key_is_known = key_is_known
        self.foreign = Foreign()

    def add(self, erasure: Erasure) -> str:
        """Write one entry, to the vault first; return its name. Raises StoreUnavailable."""
        name = f"{PREFIX}{int(erasure.at.timestamp() * 1e6):016d}-{secrets.token_hex(4)}"
        body = {**asdict(erasure), "at": erasure.at.isoformat(), "format": FORMAT}
        sealed = self._sealer.seal(json.dumps(body, sort_keys=True).encode(), name)
        for key, data in ((name, sealed), self._receipt(name)):
            for store in filter(None, (self._vault, self._own)):
                store.put(key, data, if_absent=True)
        return name

    def entries(self) -> list[Erasure]:
        """Return every entry, oldest first, and copy those that only one of the two stores had to the other.

        Raises StoreUnavailable or NotFound when a store cannot be listed, Tampered for an entry that we did not write.
        """
        kept: dict[str, bytes] = {}
        found: dict[str, Erasure] = {}
        unread: dict[str, Exception] = {}
        for name in self._names(PREFIX, Kind.ERASURE):
            try:
                kept[name], found[name] = self._opened(name, self._versions(name))
            except (Tampered, NotFound) as error:
                unread[name] = error
        receipts = {name: PREFIX + name.removeprefix(RECEIPTS) for name in self._names(RECEIPTS, Kind.RECEIPT)}
        signed = {entry for name, entry in receipts.items() if entry not in found and self._is_receipt(name)}
        for name in sorted(signed | unread.keys()):
            if name in signed or not (self._key_is_known or kept or signed):
                gone = NotFound(f"{name} has a receipt and is gone", remedy="look at the vault's store")
                raise unread.get(name, gone)
            self.foreign[name] = "nothing that we sealed, and without a receipt"
        kept |= dict(self._receipt(name) for name in list(kept))
        for store in filter(None, (self._vault, self._own)):
            there = {stored.key for prefix in (PREFIX, RECEIPTS) for stored in store.list(prefix)}
            for name in kept.keys() - there:
                with suppress(Conflict):  # a delete marker hides it, or another process brought it just now
                    store.put(name, kept[name], if_absent=True)
        return [found[name] for name in sorted(found)]

    def _receipt(self, name: str) -> tuple[str, bytes]:
        """Return the receipt of an entry: its name, and what is in it."""
        key = RECEIPTS + name.removeprefix(PREFIX)
        return key, self._sealer.seal(name.encode(), key)

    def _is_receipt(self, key: str) -> bool:
        for data in self._versions(key):
            with suppress(Tampered):
                self._sealer.unseal(data, key)
                return True
        self.foreign[key] = "no receipt that we sealed"
        return False

    def _names(self, prefix: str, kind: Kind) -> list[str]:
        there = set(self._vault.names(prefix)) if self._vault is not None else set()
        there |= {stored.key for stored in (self._own.list(prefix) if self._own is not None else ())}
        return sorted(match[0] for match in of_kind(there, kind, self.foreign))

    def _versions(self, name: str) -> Iterator[bytes]:
        """Yield what either store holds of an entry: one that is damaged in one store may be whole in the other."""
        if self._vault is not None:
            yield from self._vault.versions(name)
        if self._own is not None:
            with suppress(NotFound):
                yield self._own.get(name)

    def _opened(self, name: str, versions: Iterable[bytes]) -> tuple[bytes, Erasure]:
        """Return the newest version that we encrypted, as bytes and decoded. Raises Tampered or NotFound."""
        said: Exception = NotFound(f"{name} is listed and has no content", remedy="look at the vault's store")
        for data in versions:
            try:
                body = json.loads(self._sealer.unseal(data, name))
                if body.pop("format") != FORMAT:
                    raise Tampered(f"{name} is of another format", remedy="use the version of caravan that wrote it")
                return data, Erasure(**{**body, "at": datetime.fromisoformat(body["at"])})
            except Tampered as error:
                said = error
        raise said


def latest(entries: Iterable[Erasure]) -> dict[str, datetime]:
    """Return, per pseudonym, the time up to which its rows are removed."""
    found: dict[str, datetime] = {}
    for entry in entries:
        found[entry.pseudonym] = max(entry.until, found.get(entry.pseudonym, entry.until))
    return found


def pseudonym_of(shopper: str, s: Settings, *, hashed: bool | None = None) -> str:
    """Return the pseudonym of an identifier; a pseudonym is returned as it is. Raises SettingsError.

    `hashed` says which of the two it is; without it, the shape does, though a shop's identifier may have it too.
    """
    if not shopper:
        raise SettingsError("no shopper is named", remedy="give the identifier as the shop sends it, or a pseudonym")
    if PSEUDONYM.match(shopper) if hashed is None else hashed:
        return shopper
    return Pseudonymizer(s.secret("pseudonym_key")).hash(shopper)


def checked_reason(reason: str, shopper: str) -> str:
    """Return `reason` with blanks collapsed, cut to 500 characters. Raises SettingsError when it names the shopper.

    The reason is kept, and the clear identifier never is.
    """
    if re.search(rf"(?<!\w){re.escape(shopper)}(?!\w)", reason, re.IGNORECASE):
        raise SettingsError("the reason names the shopper", remedy="say it without the identifier: a ticket's number")
    return " ".join(reason.split())[:500]
