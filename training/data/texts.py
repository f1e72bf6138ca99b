"""What items say about themselves, for encoding and for searching."""

from __future__ import annotations

import re

import pyarrow as pa


def texts_of(catalog: pa.Table) -> list[str] | None:
    """The text of each item, or None where the catalog has no words: titles that only number items."""
    titles = catalog["title"].to_pylist()
    words = {re.sub(r"[\W\d_]+", " ", title).strip().lower() for title in titles}
    if len(words) < max(2, 0.05 * len(titles)):
        return None
    return item_texts(catalog)


def item_texts(catalog: pa.Table) -> list[str]:
    """Title, brand, category and the start of the description of each item, as far as given."""
    columns = (catalog[name].to_pylist() for name in ("title", "brand", "category", "description"))
    return [
        ". ".join(part for part in (title, brand, (category or "").replace("/", " "), (text or "")[:1000]) if part)
        for title, brand, category, text in zip(*columns, strict=True)
    ]
