"""Keeps a shopper's recent history: one rule for feature tables, training and serving.

A history is a *set* of actions under one total order: time, then `tie_break`. Two equal actions are one action. So
adding actions in any order, or twice, gives the same history, and keeping the newest `limit` after every addition
gives the same as keeping them once at the end.

Actions of one instant (the lines of an order, an import) have no order of their own. One by item would be a pattern:
whatever learns from histories would learn the alphabet. So theirs is a hash, without a key, since keys change.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import NamedTuple, Self

from contracts.events import INTERACTIONS

#: Actions kept per shopper, in the feature table and online.
MAX_LENGTH = 50


class Action(NamedTuple):
    """One interaction; `time` is microseconds since 1970 in UTC."""

    time: int
    item: str
    kind: str


class History(NamedTuple):
    """A shopper's actions, oldest first; the three lists have equal length."""

    items: list[str]
    kinds: list[str]
    times: list[int]

    @classmethod
    def of(cls, actions: Iterable[Action]) -> Self:
        ordered = list(actions)
        return cls([a.item for a in ordered], [a.kind for a in ordered], [a.time for a in ordered])

    def actions(self) -> list[Action]:
        return [Action(*a) for a in zip(self.times, self.items, self.kinds, strict=True)]


EMPTY = History([], [], [])


#: Between shopper, time, item and kind where they are hashed, here and in feature_repo.expressions.
TIE_SEPARATOR = "|"


def tie_break(user_id: str, action: Action) -> str:
    """Return what orders a shopper's actions of one instant: SHA-256, in hexadecimal digits."""
    said = TIE_SEPARATOR.join((user_id, str(action.time), action.item, action.kind))
    return hashlib.sha256(said.encode()).hexdigest()


def recent(user_id: str, actions: Iterable[Action], limit: int = MAX_LENGTH) -> History:
    """Keep the newest `limit` interactions among the shopper's `actions`, oldest first, each once."""
    kept = {a for a in actions if a.kind in INTERACTIONS and a.item}
    return History.of(sorted(kept, key=lambda a: (a.time, tie_break(user_id, a)))[-limit:])


def append(user_id: str, history: History, actions: Iterable[Action], limit: int = MAX_LENGTH) -> History:
    """Add `actions` to `history` where their time puts them; adding one that is there already changes nothing."""
    return recent(user_id, (*history.actions(), *actions), limit)
