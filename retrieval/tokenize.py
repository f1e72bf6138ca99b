"""Text to search terms; the one tokenizer of index build and query."""

from __future__ import annotations

import re
import unicodedata

#: Changes whenever the same text could give other terms: an index remembers it and refuses another.
VERSION = 1

_TERM = re.compile(r"[^\W_]+(?:\.[0-9]+)?")


def normalize(text: str) -> str:
    """`text` in one spelling: compatibility forms folded, accents dropped, lower case."""
    folded = unicodedata.normalize("NFKD", text).casefold()
    return "".join(c for c in folded if not unicodedata.combining(c))


def tokens(text: str) -> list[str]:
    """The search terms of `text`, in order, repeats kept."""
    return _TERM.findall(normalize(text))
