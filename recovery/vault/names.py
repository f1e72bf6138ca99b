"""Reads names in the vault: one pattern per kind, and what does not fit is foreign.

The vault's writer lives in a region that may be compromised, and can put anything under any name; nobody can remove it
before its lock ends. So a name is read here only. One that does not fit is passed over and kept in mind, for people to
be told, and it stops nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from enum import Enum

from contracts.settings import Settings
from monitoring import alerts

#: Foreign names that one alert or one sentence names.
_NAMED = 3


class Kind(Enum):
    """The kinds of names that are read, and what their names are made of."""

    SNAPSHOT = re.compile(r"snapshots/([0-9]{8})\.json")
    PROOF = re.compile(r"proofs/([0-9]{8})-([0-9]{16})\.json")
    HOLD = re.compile(r"holds/([a-z][a-z0-9-]{0,40})\.json")
    WAL = re.compile(r"wal/([0-9]+)/([0-9A-F]{8})/([0-9A-F]{16})-([0-9A-F]{16})")
    NOTE = re.compile(r"journal/([0-9]+)/([0-9]{16})\.json")
    EVENTS = re.compile(r"logs/([0-9]+)/([0-9-]{10}/[\w.-]+\.jsonl)/([0-9A-F]{12,16})-([0-9A-F]{12,16})")
    ERASURE = re.compile(r"erasures/([0-9]{16})-([0-9a-f]{8})")
    RECEIPT = re.compile(r"erasure-receipts/([0-9]{16}-[0-9a-f]{8})")


class Foreign(dict[str, str]):
    """What was passed over in the vault: names, and why they are not what Caravan wrote."""

    def sentence(self) -> str:
        """Return one sentence for people; empty when nothing is foreign."""
        if not self:
            return ""
        named = [f"{name[:120]!r} ({why})" for name, why in sorted(self.items())[:_NAMED]]
        more = f" and {len(self) - _NAMED} more" if len(self) > _NAMED else ""
        return f"the vault holds what we did not write, which is passed over: {', '.join(named)}{more}"

    def alert(self, s: Settings, *, now: datetime | None = None) -> None:
        """Alert people, once a day: somebody with the writer's credential put it there, or a disk rots."""
        at = now or datetime.now(UTC)
        if self:
            about = f"foreign in the vault on {at.date()}"
            alerts.tell_once(s, about, part="recovery", severity="critical", text=self.sentence(), now=at)


def of_kind(names: Iterable[str], kind: Kind, foreign: dict[str, str]) -> Iterator[re.Match[str]]:
    """Yield the names of one kind, matched; the others go into `foreign`."""
    for name in names:
        if (match := kind.value.fullmatch(name)) is not None:
            yield match
        else:
            foreign[name] = f"no name of a {kind.name.lower()}"
