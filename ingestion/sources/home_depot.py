"""Reads product titles and human relevance of query-product pairs: a catalog and judgments, no events."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from ingestion.formats.columns import convert
from ingestion.sources.base import (
    ConvertedDataset,
    Source,
    catalog_table,
    column,
    find,
    find_optional,
    read_text_file,
    skipped,
)

_ABOUT = ("title", "description", "brand", "category")


class HomeDepot(Source):
    """`catalog.csv` (product_id, title) and `judgments.csv` (product_id, query, relevance)."""

    name = "home-depot"

    def files(self, directory: Path) -> list[Path]:
        judged = find_optional(directory, "judgments.csv")
        return [find(directory, "catalog.csv"), *([judged] if judged else [])]

    def convert(self, directory: Path) -> ConvertedDataset:
        files = self.files(directory)
        products = read_text_file(files[0], ("product_id", "title"), _ABOUT)
        table = products.table
        catalog = catalog_table(
            table.num_rows, item_id=column(table, "product_id"), **{n: column(table, n) for n in _ABOUT}
        )
        if len(files) == 1:
            return ConvertedDataset(catalog=catalog, skipped=skipped(products))
        pairs = read_text_file(files[1], ("product_id", "query", "relevance"), ())
        judgments = pa.table(
            {
                "query": pc.utf8_trim_whitespace(column(pairs.table, "query")),
                "item_id": column(pairs.table, "product_id"),
                "relevance": convert(column(pairs.table, "relevance"), pa.float64()).column,
            }
        )
        return ConvertedDataset(catalog=catalog, judgments=judgments, skipped=skipped(products, pairs))
