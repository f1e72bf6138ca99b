"""Defines a release: a directory named by the digest of its manifest, its files, its states and its road.

Nothing in a bundle can run code when it is read: ONNX programs, safetensors, NumPy arrays without objects,
Parquet and JSON.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Literal, get_args

DIGEST = re.compile(r"^[0-9a-f]{64}$")

#: ONNX: `items` int64 [B, L] (1-based item index, 0 pads on the right), `lengths` int64 [B]
#: -> `query` float32 [B, D]. Scores are `query @ ITEM_VECTORS.T` (+ ITEM_BIAS where the file exists).
SEQUENCE_PROGRAM = "model/sequence.onnx"
#: Newest items of a history that the program is given, where neither it nor MODEL_CONFIG fixes a length.
LONGEST_HISTORY = 50
WEIGHTS = "model/weights.safetensors"
MODEL_CONFIG = "model/config.json"
ITEMS = "items/items.parquet"  # CATALOG columns; row r is item index r + 1
ITEM_VECTORS = "items/vectors.npy"  # float32 [N, D]
ITEM_BIAS = "items/bias.npy"  # float32 [N], optional
ITEM_TEXT_VECTORS = "items/text_vectors.npy"  # float32 [N, 384], unit length
SOURCES = "sources"  # a folder, see retrieval.ranking.sources.SourceData
#: ONNX: `shares` float32 [R, S], `context` float32 [R, K] (retrieval.ranking.sources) -> `parts` float32 [R, S]. All
#: rows are candidates of one question and have one context.
RANKER = "ranker/ranker.onnx"
RANKER_ABOUT = "ranker/ranker.json"  # which sources and context it reads, and what it was measured to be
BM25 = "search/bm25"  # a folder, see retrieval.bm25
ENCODER = "encoder"  # a folder, see retrieval.encoder
POPULAR = "fallback/popular.json"  # {"all": [item_id, ...], "<category>": [...]}, best first
FEATURES = "features.json"  # feature service, views, age limits
EVALUATION = "evaluation.json"
GATE = "gate.json"
LINEAGE = "lineage.json"
REFERENCE_FEATURES = "reference/features.parquet"  # what drift is measured against
REFERENCE_SCORES = "reference/scores.parquet"

State = Literal[
    "built",
    "gated",
    "approved",
    "shadow",
    "canary_1",
    "canary_5",
    "canary_25",
    "canary_50",
    "champion",
    "retired",
    "rejected",
    "rolled_back",
]
#: Rows of the ledger that move nothing: a request for approval, an answer to it, a refused one, a freeze and its end;
#: a step that has had its time without a verdict, and more time for it; another shop that the region serves;
#: a region that took over from another one, and a row of the former one that came too late for the restore.
Note = Literal[
    "asked", "approval", "refused", "frozen", "thawed", "overdue", "extended", "serves", "took_over", "reconciled"
]  # fmt: skip
NOTES: frozenset[str] = frozenset(get_args(Note))
#: Share of shoppers, in percent, that a release gets in each canary state. All else about the steps follows from it.
CANARY_SHARE: dict[State, int] = {"canary_1": 1, "canary_5": 5, "canary_25": 25, "canary_50": 50}
#: The steps of a canary, in order.
CANARY_STEPS: tuple[State, ...] = tuple(CANARY_SHARE)
#: States in which a release gets shoppers, or copies of their requests, beside a champion.
IN_FLIGHT: tuple[State, ...] = ("approved", "shadow", *CANARY_STEPS)
#: States in which an engine serves a release, or may serve it again.
SERVABLE: tuple[State, ...] = (*IN_FLIGHT, "champion", "retired")

#: The figure that an evaluation, its gate and the brief are about: per question, and with shoppers weighing alike,
#: however much each of them asks. The gate looks at the second.
HEADLINE = "ndcg_at_10"
PER_SHOPPER = f"{HEADLINE}_per_shopper"

_TO_CHAMPION: tuple[State, ...] = ("shadow", *CANARY_STEPS, "champion")
#: The road of a release. From every state before `champion` it may also be rejected or rolled back.
MOVES: dict[State | None, frozenset[State]] = {
    None: frozenset({"built"}),
    "built": frozenset({"gated", "rejected"}),
    "gated": frozenset({"approved", "rejected"}),
    "approved": frozenset({"shadow", "champion", "rejected", "rolled_back"}),
    **{step: frozenset({after, "rejected", "rolled_back"}) for step, after in pairwise(_TO_CHAMPION)},
    "champion": frozenset({"retired", "rolled_back"}),
    "retired": frozenset({"champion"}),  # a rollback to the one before
    "rolled_back": frozenset({"approved"}),  # only with a fresh approval
    "rejected": frozenset(),
}
