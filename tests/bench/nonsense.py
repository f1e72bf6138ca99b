"""How often search answers nonsense, and is silent on what shoppers ask: `python -m tests.bench.nonsense`.

Titles are a sample of Home Depot's catalog (beside the project, as `real_data` of the tests), the encoder is the pinned
one. `--vectors` keeps the titles' vectors in a file: 10,000 titles take some minutes.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import random
from pathlib import Path

import numpy as np

from contracts.settings import read_settings
from retrieval.bm25 import BM25Index
from retrieval.encoder import QUERY_MODEL, TextEncoder
from retrieval.fusion import fuse_what_fits, is_close
from tests.conftest import REPOSITORY
from tests.retrieval import nonsense
from training.models.text import encoder_directory

DATA = REPOSITORY.parent / "shared" / "data" / "home_depot"
SAMPLE_SEED = 5


def read(folder: Path, name: str) -> list[dict[str, str]]:
    """Rows of one file of the data set."""
    with gzip.open(folder / f"{name}.csv.gz", "rt", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def main() -> None:
    """Print a table: for each size of the sample, the share answered by kind, and the share of real queries silent."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.nonsense", description=__doc__)
    parser.add_argument("--items", type=int, nargs="+", default=[100, 1_000, 10_000])
    parser.add_argument("--each", type=int, default=100, help="strings of each kind")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the data set")
    parser.add_argument("--vectors", type=Path, help="file of the titles' vectors (.npy)")
    parser.add_argument("--encoder", type=Path, help="folder of an exported encoder")
    options = parser.parse_args()
    folder = options.encoder or encoder_directory(read_settings())
    catalog = read(options.data, "catalog")
    rows = [catalog[n] for n in np.random.default_rng(SAMPLE_SEED).permutation(len(catalog))[: max(options.items)]]
    titles = [row["title"] for row in rows]
    if options.vectors and options.vectors.exists():
        vectors = np.load(options.vectors)
    else:
        vectors = TextEncoder.load(folder, threads=2).encode(titles)
        if options.vectors:
            np.save(options.vectors, vectors)
    asks, draw = TextEncoder.load(folder, program=QUERY_MODEL), random.Random(3)
    strings = {kind: [make(draw) for _ in range(options.each)] for kind, make in nonsense.KINDS.items()}
    known = [(text, asks.encode([text])[0]) for texts in strings.values() for text in texts]
    asked = dict(known)
    right = {
        (row["query"], row["product_id"]) for row in read(options.data, "judgments") if float(row["relevance"]) >= 2.5
    }
    for size in options.items:
        index, close = BM25Index.build(titles[:size]), vectors[:size]
        found = {
            kind: [fuse_what_fits(index, t, index.scores(t), close @ asked[t], asks) is not None for t in texts]
            for kind, texts in strings.items()
        }
        ours = {row["product_id"] for row in rows[:size]}
        real = sorted({query for query, item in right if item in ours})
        real = random.Random(1).sample(real, min(400, len(real)))
        silent = [q for q in real if not is_close(close @ asks.encode([q])[0], asks.broken(q))]
        groups = {"identifiers": nonsense.IDENTIFIERS, "letters": nonsense.LETTERS, "signs": ("signs",)}
        shares = {name: np.mean([found[kind] for kind in kinds]) for name, kinds in groups.items()}
        worst = max(found, key=lambda kind: float(np.mean(found[kind])))
        cells = [f"{size:,}", *(f"{share:.1%}" for share in shares.values())]
        cells += [f"{worst} {np.mean(found[worst]):.0%}", f"{len(silent) / max(1, len(real)):.1%}"]
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
