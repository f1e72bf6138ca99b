"""One text of an item, whichever engine computes it."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from contracts.events import CATALOG
from feature_repo import expressions
from feature_repo.engines import engine
from feature_repo.item_text import PARTS
from training.data.texts import item_texts

LONGEST = next(part.longest for part in PARTS if part.column == "description") or 0
#: Combining marks, emoji of several code points, Chinese, all kinds of white space, and the marks of the rule itself.
AWKWARD = [
    "", " ", "\t", "\n", "\u00a0", "\u3000", "/", "//", ". ", "'", '"', "\\",
    "é", "e\u0301", "ß", "İ", "中文", "灯", "🛋", "👩\u200d👩\u200d👧", "🇩🇪",
]  # fmt: skip
words = st.one_of(
    st.text(max_size=30), st.lists(st.sampled_from(AWKWARD), max_size=8).map("".join), st.sampled_from(["a/b", "lamp"])
)
#: Around the cut, whose last character may be one of several code points or bytes.
long_texts = st.tuples(st.integers(LONGEST - 4, LONGEST + 1), st.sampled_from(AWKWARD), st.text(max_size=5)).map(
    lambda t: "x" * t[0] + t[1] + t[2]
)
products = st.fixed_dictionaries(
    {
        "title": words,
        "brand": st.none() | words,
        "category": st.none() | words,
        "description": st.none() | words | long_texts,
    }
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@example([{"title": "", "brand": "b", "category": None, "description": None}])
@example([{"title": "t", "brand": None, "category": "/", "description": ""}])
@example([{"title": "", "brand": "", "category": "", "description": None}])
@given(st.lists(products, min_size=1, max_size=30))
def test_both_engines_compute_the_same_text(rows: list[dict[str, str | None]]) -> None:
    columns = {name: [row.get(name) for row in rows] for name in CATALOG.names}
    columns |= {"item_id": [f"i{n:03d}" for n in range(len(rows))], "available": [True] * len(rows)}
    catalog = pa.table(columns, schema=CATALOG)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "catalog.parquet"
        pq.write_table(catalog, file)
        with engine("duckdb", Path(folder)) as duckdb:
            table = pa.Table.from_batches(duckdb.batches(expressions.item_texts(duckdb.read("catalog", [file]))))
    expected = item_texts(catalog)
    assert table["text"].to_pylist() == expected
    assert table["text_hash"].to_pylist() == [hashlib.sha256(text.encode()).hexdigest() for text in expected]


def test_the_text_is_what_it_has_always_been() -> None:
    """Vectors are reused by the hash of the text: a changed rule would encode every item again."""
    row = {
        "item_id": "i", "title": "Lamp", "brand": "Ōya", "category": "home/light", "description": "x" * 2000,
        "available": True,
    }  # fmt: skip
    assert item_texts(pa.Table.from_pylist([row], schema=CATALOG)) == ["Lamp. Ōya. home light. " + "x" * 1000]
