"""States the text of an item: what is encoded into its vector, hashed, and indexed for search.

The rule is data, and two engines follow it: training.data.texts.item_texts in Python, over one catalog in memory, and
feature_repo.expressions.item_texts in Ibis. tests/feature_repo/test_item_text.py holds both together.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class TextPart:
    """A column of the catalog as it stands in the text: replaced (old, new) first, then cut to so many characters."""

    column: str
    replaced: tuple[str, str] | None = None
    longest: int | None = None


#: In this order; a part that is missing or empty is left out with its separator.
PARTS = (
    TextPart(column="title"),
    TextPart(column="brand"),
    TextPart(column="category", replaced=("/", " ")),
    TextPart(column="description", longest=1000),
)
SEPARATOR = ". "
