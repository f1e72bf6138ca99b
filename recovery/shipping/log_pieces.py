"""Finds the pieces of the event log in the vault, and of them those that cover a file."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from recovery.vault.names import Kind, of_kind
from recovery.vault.vault import Vault

#: A piece of a file: its first byte, the one after its last, and its key.
Span = tuple[int, int, str]


def pieces(vault: Vault, system: str) -> dict[str, list[Span]]:
    """Return (start, end, key) of every piece in the vault, per file of the log, in order.

    Delete markers hide none. A name says what a piece would be, not that it is ours.
    """
    found: dict[str, list[Span]] = {}
    for match in of_kind(vault.store.names(f"logs/{system}/"), Kind.EVENTS, vault.foreign):
        start, end = int(match[3], 16), int(match[4], 16)
        if start < end:
            found.setdefault(match[2], []).append((start, end, match[0]))
        else:
            vault.foreign[match[0]] = "a piece of no length"
    return {path: sorted(spans) for path, spans in found.items()}


def contiguous(spans: Iterable[Span], ours: Callable[[str], bool] = lambda _key: True, start: int = 0) -> list[Span]:
    """Return the pieces that cover the file from `start` on without a gap, as far as those that are `ours` reach.

    Pieces overlap where two processes uploaded the same bytes. Of those that go on from a place, the one that leads
    farthest is asked about first, and only those that would be taken are.
    """
    chosen: list[Span] = []
    waiting = sorted(spans, reverse=True)
    reached, open_ = start, list[Span]()
    while True:
        while waiting and waiting[-1][0] <= reached:
            open_.append(waiting.pop())
        open_ = sorted((span for span in open_ if span[1] > reached), key=lambda span: span[1])
        while open_ and not ours(open_[-1][2]):
            open_.pop()
        if not open_:
            return chosen
        chosen.append(open_.pop())
        reached = chosen[-1][1]
