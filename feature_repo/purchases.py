"""Keeps what a shopper bought apart from the recent history, which forgets it after fifty other actions.

A set of items, each with the time of its newest purchase, in one total order: time, then item. So adding purchases in
any order, or twice, gives the same, and keeping the newest `limit` after every addition gives the same as keeping them
once at the end. One rule for the feature table, for pushes and for serving.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Self

from feature_repo.sequences import Action

#: Different items kept per shopper, in the feature table and online: about 50 KB. Of a shopper who bought more, those
#: bought longest ago may be recommended again.
MAX_ITEMS = 2_000
_KIND = "purchase"


class Purchases(NamedTuple):
    """A shopper's purchased items, the newest purchase last; the two lists have equal length."""

    purchased: list[str]
    purchased_at: list[int]

    @classmethod
    def of(cls, newest: Iterable[tuple[int, str]]) -> Self:
        ordered = list(newest)
        return cls([item for _, item in ordered], [time for time, _ in ordered])


NOTHING = Purchases([], [])


def add(before: Purchases, actions: Iterable[Action], limit: int = MAX_ITEMS) -> Purchases:
    """Add the purchases among `actions`; one known already, or an older one of the same item, changes nothing."""
    newest = dict(zip(before.purchased, before.purchased_at, strict=True))
    for action in actions:
        if action.kind == _KIND and action.item:
            newest[action.item] = max(action.time, newest.get(action.item, action.time))
    return Purchases.of(sorted((time, item) for item, time in newest.items())[-limit:])


def bought(purchases: Iterable[str], items: Iterable[str], kinds: Iterable[str]) -> list[str]:
    """Return what a shopper bought by either record: `purchases`, and the history of `items` and `kinds`.

    A history that was pushed before purchases were kept apart is all there is of that shopper's until the next night.
    """
    recent = (item for item, kind in zip(items, kinds, strict=True) if kind == _KIND)
    return list(dict.fromkeys([*purchases, *recent]))
