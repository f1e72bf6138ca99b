"""Loads one release into memory: items as columns, the exported programs, the search index, the fallback lists.

A loaded release never changes; the engine replaces it as a whole. Row r of every array is the item with index
r, which the sequence program knows as r + 1 (0 is padding).
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from contracts import release as files
from contracts.errors import CaravanError, ReleaseRefused
from retrieval.bm25 import BM25Index
from retrieval.encoder import MODEL, QUERY_MODEL, TextEncoder
from retrieval.ranking.ranker import RankerProgram
from retrieval.ranking.sources import SourceData
from serving.bundle.programs import SequenceProgram

if TYPE_CHECKING:
    import pyarrow as pa

Floats = NDArray[np.float32]
#: The code of a category that no item has.
NO_CATEGORY = -2
Indexes = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Items:
    """The catalog as columns, each of length N."""

    ids: list[str]
    index: dict[str, int]
    titles: list[str]
    category: NDArray[np.int32]  # code into `category_names`; -1: none
    category_names: list[str]
    price: NDArray[np.float64]  # NaN: unknown
    currency: list[str | None]
    available: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.ids)

    def known(self, ids: Collection[str]) -> Indexes:
        """Return the indexes of those `ids` that are in the catalog, in order, repeats kept."""
        get = self.index.get
        return np.array([i for i in map(get, ids) if i is not None], dtype=np.int64)

    def category_code(self, name: str | None) -> int:
        """Return the code of a category, NO_CATEGORY where no item has it: not -1, which items without one have."""
        return self.category_names.index(name) if name in self.category_names else NO_CATEGORY


@dataclass(frozen=True, kw_only=True, eq=False)
class Release:
    """The content of one bundle, whose parts were checked to fit together."""

    digest: str
    source: str
    items: Items
    program: SequenceProgram
    vectors: Floats  # [N, D]
    bias: Floats  # [N]
    offset: Floats  # [N]: the item's bias, -inf where it is not available
    norms: Floats  # [N]: lengths of `vectors`, at least a tiny number
    text_vectors: Floats | None  # [N, T], unit length
    popular: dict[str, Indexes]  # "all", and one list per category, best first
    bm25: BM25Index
    encoder: TextEncoder | None
    sources: SourceData | None = None  # with a ranker only: releases of earlier versions have the sequence model alone
    ranker: RankerProgram | None = None
    meta: dict[str, Any] = field(default_factory=dict)
    overlay: str | None = None  # digest of the overlay whose availability it has

    def with_availability(
        self, unavailable: Collection[str], available: Collection[str], overlay: str | None
    ) -> Release:
        """Return this release with what is said of these items; those it does not know are passed over."""
        changed = self.items.available.copy()
        changed[self.items.known(unavailable)] = False
        changed[self.items.known(available)] = True
        return replace(
            self, items=replace(self.items, available=changed), offset=_offset(self.bias, changed), overlay=overlay
        )

    def likeness(self, some: Indexes, others: Indexes) -> Floats:
        """Return the cosine of the model's vectors of `some` [K] and `others` [R], [K, R]."""
        found: Floats = (self.vectors[some] @ self.vectors[others].T) / (self.norms[some][:, None] * self.norms[others])
        return found


def load_release(directory: Path, *, digest: str, source: str, meta: dict[str, Any] | None = None) -> Release:
    """Load the bundle in `directory`. Raises ReleaseRefused, which says what is wrong with it."""
    try:
        return _load(directory, digest, source, meta or {})
    except ReleaseRefused:
        raise
    except CaravanError as error:
        raise _refusal(digest, error.what) from error
    except Exception as error:  # a broken file can raise anything: it is refused, the engine lives on
        raise _refusal(digest, f"{type(error).__name__}: {error}") from error


def _refusal(digest: str, problem: str) -> ReleaseRefused:
    return ReleaseRefused(f"release {digest[:12]} cannot be served: {problem}", remedy="publish a whole release")


def _load(directory: Path, digest: str, source: str, meta: dict[str, Any]) -> Release:
    import pyarrow.parquet as pq

    with pq.ParquetFile(directory / files.ITEMS) as catalog:  # pq.read_table would import pandas
        items = _make_items(catalog.read())
    size = len(items)
    if size == 0:
        raise _refusal(digest, f"{files.ITEMS} is empty")

    vectors = _read_matrix(directory / files.ITEM_VECTORS, size, digest)
    bias = np.zeros(size, dtype=np.float32)
    if (directory / files.ITEM_BIAS).exists():
        bias = _read_array(directory / files.ITEM_BIAS, digest)
        if bias.shape != (size,):
            raise _refusal(digest, f"{files.ITEM_BIAS} has shape {bias.shape}, the catalog {size} items")
    text_vectors = None
    if (directory / files.ITEM_TEXT_VECTORS).exists():
        text_vectors = _read_matrix(directory / files.ITEM_TEXT_VECTORS, size, digest)

    bm25 = BM25Index.load(directory / files.BM25)
    if len(bm25) != size:
        raise _refusal(digest, f"the search index has {len(bm25)} texts, the catalog {size} items")
    encoder = None
    if text_vectors is not None and (directory / files.ENCODER).is_dir():
        # queries come one at a time, and the eight-bit program takes half the time for the same ranking
        program = QUERY_MODEL if (directory / files.ENCODER / QUERY_MODEL).exists() else MODEL
        encoder = TextEncoder.load(directory / files.ENCODER, threads=1, program=program)
        if encoder.dimension != text_vectors.shape[1]:
            raise _refusal(digest, "the encoder and the items' text vectors differ in dimension")

    popular = {name: items.known(ids) for name, ids in json.loads((directory / files.POPULAR).read_text()).items()}
    if not len(popular.get("all", ())):
        raise _refusal(digest, f"{files.POPULAR} has no list `all` with items of the catalog")

    ranked = (directory / files.RANKER_ABOUT).exists()
    return Release(
        digest=digest,
        source=source,
        items=items,
        program=SequenceProgram(directory / files.SEQUENCE_PROGRAM),
        vectors=vectors,
        bias=bias,
        offset=_offset(bias, items.available),
        norms=np.maximum(np.linalg.norm(vectors, axis=1), 1e-9).astype(np.float32),
        text_vectors=text_vectors,
        popular=popular,
        bm25=bm25,
        encoder=encoder,
        sources=SourceData.load(directory / files.SOURCES, size) if ranked else None,
        ranker=RankerProgram(directory) if ranked else None,
        meta=meta,
    )


def _offset(bias: Floats, available: NDArray[np.bool_]) -> Floats:
    return np.where(available, bias, np.float32(-np.inf)).astype(np.float32)


def _make_items(table: pa.Table) -> Items:
    """Return the columns of the catalog. Through lists: some conversions of pyarrow would import pandas."""
    ids = table["item_id"].to_pylist()
    index = {item: row for row, item in enumerate(ids)}
    if len(index) != len(ids):
        raise ValueError(f"{files.ITEMS} names an item twice")
    encoded = table["category"].combine_chunks().cast("string").dictionary_encode()
    codes = [-1 if code is None else code for code in encoded.indices.to_pylist()]
    return Items(
        ids=ids,
        index=index,
        titles=table["title"].to_pylist(),
        category=np.array(codes, dtype=np.int32),
        category_names=encoded.dictionary.to_pylist(),
        price=np.array([np.nan if price is None else price for price in table["price"].to_pylist()], dtype=np.float64),
        currency=table["currency"].to_pylist(),
        available=np.array([available is not False for available in table["available"].to_pylist()], dtype=np.bool_),
    )


def _read_array(path: Path, digest: str) -> Floats:
    """Read a finite float32 array into memory of its own, C-contiguous. Pickled objects are refused."""
    array = np.ascontiguousarray(np.load(path, allow_pickle=False), dtype=np.float32)
    if not np.isfinite(array).all():
        raise _refusal(digest, f"{path.name} holds values that are not finite")
    return array


def _read_matrix(path: Path, size: int, digest: str) -> Floats:
    array = _read_array(path, digest)
    if array.ndim != 2 or array.shape[0] != size:
        raise _refusal(digest, f"{path.name} has shape {array.shape}, the catalog {size} items")
    return array
