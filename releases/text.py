"""What people write, made fit for the ledger and for a terminal."""

from __future__ import annotations

from contracts.errors import SettingsError

LONGEST = 1000


def reason_given(text: str) -> str:
    """`text` on one line, without what a database or a terminal cannot take; SettingsError when nothing is left."""
    found = " ".join("".join(c if c.isprintable() else " " for c in text).split())[:LONGEST]
    if not found:
        raise SettingsError("no reason is given", remedy="say in a few words why: --reason '…'")
    return found
