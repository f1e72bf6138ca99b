"""Makes what people write fit for the ledger and for a terminal."""

from __future__ import annotations

from contracts.errors import SettingsError
from contracts.text import one_line

#: Characters of a reason that the ledger keeps.
LONGEST_REASON = 1000


def reason_given(text: str) -> str:
    """Return a reason as the ledger keeps it, on one line. Raises SettingsError when nothing is left of it."""
    found = one_line(text)[:LONGEST_REASON]
    if not found:
        raise SettingsError("no reason is given", remedy="say in a few words why: --reason '…'")
    return found
