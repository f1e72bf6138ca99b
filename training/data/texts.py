"""Reads the texts of items from a catalog, for encoding and for searching."""

from __future__ import annotations

import re

import pyarrow as pa

from feature_repo.item_text import PARTS, SEPARATOR, TextPart


def texts_of(catalog: pa.Table) -> list[str] | None:
    """Return the text of each item, or None where the catalog has no words: titles that only number items."""
    titles = catalog["title"].to_pylist()
    words = {re.sub(r"[\W\d_]+", " ", title).strip().lower() for title in titles}
    if len(words) < max(2, 0.05 * len(titles)):
        return None
    return item_texts(catalog)


def item_texts(catalog: pa.Table) -> list[str]:
    """Return the text of each item by the rule of feature_repo.item_text."""
    columns = ([_said(value, part) for value in catalog[part.column].to_pylist()] for part in PARTS)
    return [SEPARATOR.join(filter(None, said)) for said in zip(*columns, strict=True)]


def _said(value: str | None, part: TextPart) -> str:
    text = value or ""
    if part.replaced is not None:
        text = text.replace(*part.replaced)
    return text[: part.longest]
