"""Keeps a shopper's recent history: one rule for feature tables, training and serving.

A history is a *set* of actions under one total order: time, then item, then kind. Two equal actions are one
action. So adding actions in any order, or twice, gives the same history, and keeping the newest `limit` after
every addition gives the same as keeping them once at the end.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Self

from contracts.events import INTERACTIONS

#: Actions kept per shopper, in the feature table and online.
MAX_LENGTH = 50


class Action(NamedTuple):
    """One interaction; `time` is microseconds since 1970 in UTC. Field order is the order of a history."""

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


def recent(actions: Iterable[Action], limit: int = MAX_LENGTH) -> History:
    """Keep the newest `limit` interactions among `actions`, oldest first, each once."""
    return History.of(sorted({a for a in actions if a.kind in INTERACTIONS and a.item})[-limit:])


def append(history: History, actions: Iterable[Action], limit: int = MAX_LENGTH) -> History:
    """Add `actions` to `history` where their time puts them; adding one that is there already changes nothing."""
    return recent((*history.actions(), *actions), limit)
