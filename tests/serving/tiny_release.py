"""Builds a small, valid release bundle without training: synthetic catalog, sequence program of a few operators."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
from onnx import TensorProto, helper, numpy_helper
from scipy import sparse

from contracts import release as files
from contracts.events import CATALOG
from retrieval.bm25 import BM25Index
from retrieval.ranking.item_lists import ItemLists
from retrieval.ranking.sources import CONTEXT, SOURCES, SourceData

ADJECTIVES = ("walnut", "brushed", "compact", "folding", "soft", "bright", "slim", "sturdy", "quiet", "warm")
NOUNS = ("lamp", "desk", "chair", "kettle", "blanket", "shelf", "mirror", "clock", "basket", "mug", "rug", "vase")
_ROOMS = ("home/lighting", "home/office", "kitchen/tea", "living/textile", "bath/storage")


def item_id(row: int) -> str:
    return f"i-{row:05d}"


def build(
    directory: Path,
    items: int = 60,
    dimension: int = 16,
    *,
    seed: int = 0,
    unavailable: tuple[int, ...] = (),
    padded: int | None = None,
    encoder: Path | None = None,
    heavy: bool = False,
    ranker: bool = False,
) -> Path:
    """Write a bundle of `items` products into `directory`.

    The program answers the mean of its history's vectors, so a shopper of category c is recommended category c;
    `heavy` makes it as much work as a two-layer Transformer of width 64 over the same history.
    `padded` fixes the program's history length. `encoder` is a folder as retrieval.encoder reads it; without one,
    items still have (random) text vectors. `ranker` adds sources, and a ranker that adds up their shares.
    """
    draw = np.random.default_rng(seed)
    category = np.arange(items) % len(_ROOMS)
    titles = [f"{ADJECTIVES[row % len(ADJECTIVES)]} {NOUNS[row // 3 % len(NOUNS)]} {row}" for row in range(items)]
    centres = draw.normal(size=(len(_ROOMS), dimension))
    vectors = (centres[category] + 0.3 * draw.normal(size=(items, dimension))).astype(np.float32)

    for folder in ("model", "items", "search", "fallback"):
        (directory / folder).mkdir(parents=True, exist_ok=True)
    _write_catalog(directory / files.ITEMS, titles, category, unavailable, draw)
    np.save(directory / files.ITEM_VECTORS, vectors)
    np.save(directory / files.ITEM_BIAS, np.zeros(items, dtype=np.float32))
    if encoder is not None:
        import shutil

        from retrieval.encoder import TextEncoder

        shutil.copytree(encoder, directory / files.ENCODER)
        text = TextEncoder.load(directory / files.ENCODER).encode(titles)
    else:
        text = draw.normal(size=(items, 384)).astype(np.float32)
        text /= np.linalg.norm(text, axis=1, keepdims=True)
    np.save(directory / files.ITEM_TEXT_VECTORS, text)
    onnx.save(sequence_program(vectors, padded=padded, heavy=heavy), str(directory / files.SEQUENCE_PROGRAM))
    (directory / files.MODEL_CONFIG).write_text(json.dumps({"kind": "mean of history"}))
    BM25Index.build(titles).save(directory / files.BM25)
    order = [item_id(row) for row in draw.permutation(items).tolist()]
    popular = {"all": order}
    for code, room in enumerate(_ROOMS):
        popular[room] = [item for item in order if int(item[2:]) % len(_ROOMS) == code]
    (directory / files.POPULAR).write_text(json.dumps(popular))
    if ranker:
        _write_ranker(directory, items, draw)
    for name in (files.FEATURES, files.EVALUATION, files.GATE, files.LINEAGE):
        (directory / name).write_text("{}")
    return directory


def _write_ranker(directory: Path, items: int, draw: np.random.Generator) -> None:
    """Write sources that say of each item that the next three follow it, and a program of parts = 10 x shares."""
    first = np.repeat(np.arange(items), 3)
    second = (first + np.tile([1, 2, 3], items)) % items
    follows = sparse.coo_matrix((np.tile([3.0, 2.0, 1.0], items), (first, second)), shape=(items, items)).tocsr()
    popularity = draw.dirichlet(np.ones(items)).astype(np.float32)
    lists = {name: ItemLists.of(follows, 3) for name in ("follows", "neighbours")}
    SourceData(lists, popularity, (np.arange(items) % len(_ROOMS)).astype(np.int32)).save(directory / files.SOURCES)
    graph = helper.make_graph(
        [helper.make_node("Mul", ["shares", "ten"], ["parts"]), helper.make_node("Identity", ["context"], ["unused"])],
        "ranker",
        [
            helper.make_tensor_value_info("shares", TensorProto.FLOAT, ["rows", len(SOURCES)]),
            helper.make_tensor_value_info("context", TensorProto.FLOAT, ["rows", len(CONTEXT)]),
        ],
        [
            helper.make_tensor_value_info("parts", TensorProto.FLOAT, ["rows", len(SOURCES)]),
            helper.make_tensor_value_info("unused", TensorProto.FLOAT, ["rows", len(CONTEXT)]),
        ],
        [numpy_helper.from_array(np.array([10.0], dtype=np.float32), "ten")],
    )
    program = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (directory / files.RANKER).parent.mkdir(parents=True, exist_ok=True)
    onnx.save(program, str(directory / files.RANKER))
    about = {"sources": SOURCES, "context": CONTEXT, "ranks": "ranker", "best_source": "sequence"}
    (directory / files.RANKER_ABOUT).write_text(json.dumps(about))


def _write_catalog(
    path: Path, titles: list[str], category: np.ndarray, unavailable: tuple[int, ...], draw: np.random.Generator
) -> None:
    count = len(titles)
    pq.write_table(
        pa.table(
            {
                "item_id": [item_id(row) for row in range(count)],
                "title": titles,
                "description": [None] * count,
                "brand": [None] * count,
                "category": [_ROOMS[code] for code in category],
                "price": np.round(draw.uniform(1, 100, count), 2),
                "currency": ["EUR"] * count,
                "available": [row not in unavailable for row in range(count)],
                "created_at": [None] * count,
                "attributes": [None] * count,
            },
            schema=CATALOG,
        ),
        path,
        coerce_timestamps="us",
    )


def sequence_program(vectors: np.ndarray, *, padded: int | None = None, heavy: bool = False) -> onnx.ModelProto:
    """Make a program `items` [B, L], `lengths` [B] -> `query` [B, D]: the mean of the vectors of a history's items."""
    table = np.vstack([np.zeros((1, vectors.shape[1]), dtype=np.float32), vectors])
    nodes = [
        helper.make_node("Gather", ["table", "items"], ["embedded"]),
        helper.make_node("ReduceSum", ["embedded", "axis"], ["total"], keepdims=0),
        helper.make_node("Cast", ["lengths"], ["count"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["count", "axis"], ["column"]),
        helper.make_node("Div", ["total", "column"], ["mean"]),
    ]
    constants = [numpy_helper.from_array(table, "table"), numpy_helper.from_array(np.array([1], np.int64), "axis")]
    if heavy:
        # two layers' worth of matrix products over the whole history, scaled to nothing
        width = vectors.shape[1]
        draw = np.random.default_rng(1)
        previous = "embedded"
        for layer in range(12):
            weight = (draw.normal(size=(width, width)) / width**0.5).astype(np.float32)
            constants.append(numpy_helper.from_array(weight, f"weight{layer}"))
            nodes.append(helper.make_node("MatMul", [previous, f"weight{layer}"], [f"hidden{layer}"]))
            nodes.append(helper.make_node("Tanh", [f"hidden{layer}"], [f"active{layer}"]))
            previous = f"active{layer}"
        constants.append(numpy_helper.from_array(np.array(1e-6, np.float32), "little"))
        nodes.append(helper.make_node("ReduceMean", [previous, "axis"], ["summary"], keepdims=0))
        nodes.append(helper.make_node("Mul", ["summary", "little"], ["trace"]))
        nodes.append(helper.make_node("Add", ["mean", "trace"], ["query"]))
    else:
        nodes.append(helper.make_node("Identity", ["mean"], ["query"]))
    graph = helper.make_graph(
        nodes,
        "sequence",
        [
            helper.make_tensor_value_info("items", TensorProto.INT64, ["B", padded or "L"]),
            helper.make_tensor_value_info("lengths", TensorProto.INT64, ["B"]),
        ],
        [helper.make_tensor_value_info("query", TensorProto.FLOAT, ["B", vectors.shape[1]])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    return model
