"""How fast the word index is built, loaded and asked, beside bm25s and a plain Python BM25.

    python -m tests.bench.bench_search_index [--documents 50000] [--queries 500]

All three get the same terms from our tokenizer. The peers do not correct spelling, so "ask" is measured on the terms
alone, and the whole `search`, spelling and best 10 included, stands on a line of its own.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

import bm25s
import numpy as np

from retrieval.bm25 import K1, B, BM25Index
from retrieval.tokenize import tokens


def titles(count: int, seed: int = 0) -> list[str]:
    """Texts of about ten words, the words as unevenly frequent as in a real catalog."""
    rng = np.random.default_rng(seed)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    vocabulary = np.array(["".join(rng.choice(letters, size=n)) for n in rng.integers(3, 12, size=20_000)])
    share = 1.0 / np.arange(1, len(vocabulary) + 1) ** 0.9
    words = rng.choice(vocabulary, size=(count, 10), p=share / share.sum())
    return [" ".join(row[: rng.integers(4, 11)]) for row in words]


class PlainBM25:
    """The formula as most libraries have it: a dictionary per document, a loop over documents per query."""

    def __init__(self, documents: list[list[str]]) -> None:
        self.counts = [Counter(document) for document in documents]
        self.lengths = [len(document) for document in documents]
        self.mean = sum(self.lengths) / len(documents)
        holding: dict[str, int] = defaultdict(int)
        for count in self.counts:
            for term in count:
                holding[term] += 1
        n = len(documents)
        self.idf = {term: math.log(1 + (n - df + 0.5) / (df + 0.5)) for term, df in holding.items()}

    def scores(self, terms: list[str]) -> list[float]:
        result = [0.0] * len(self.counts)
        for term in terms:
            idf = self.idf.get(term, 0.0)
            for number, count in enumerate(self.counts):
                if found := count.get(term, 0):
                    result[number] += idf * found / (found + K1 * (1 - B + B * self.lengths[number] / self.mean))
        return result


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def each(work: Callable[[str], object], queries: list[str]) -> float:
    """Median milliseconds per query."""
    return float(np.median([timed(lambda query=query: work(query)) for query in queries])) * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=50_000)
    parser.add_argument("--queries", type=int, default=500)
    options = parser.parse_args()
    texts = titles(options.documents)
    rng = np.random.default_rng(1)
    queries = [
        " ".join(rng.choice(texts[i].split(), size=3)) for i in rng.integers(0, len(texts), size=options.queries)
    ]

    terms = [tokens(text) for text in texts]
    cut = timed(lambda: [tokens(text) for text in texts])
    built = timed(lambda: BM25Index.build(texts))
    index = BM25Index.build(texts)
    peer = bm25s.BM25(k1=K1, b=B, method="lucene")
    peer_built = cut + timed(lambda: peer.index(terms, show_progress=False))
    plain_built = cut + timed(lambda: PlainBM25(terms))
    plain = PlainBM25(terms)
    with tempfile.TemporaryDirectory() as name:
        ours_folder, peer_folder = Path(name) / "ours", Path(name) / "peer"
        index.save(ours_folder)
        peer.save(str(peer_folder))
        loaded = timed(lambda: BM25Index.load(ours_folder))
        peer_loaded = timed(lambda: bm25s.BM25.load(str(peer_folder)))
        size, peer_size = (sum(f.stat().st_size for f in d.iterdir()) / 1e6 for d in (ours_folder, peer_folder))

    def ask_peer(query: str) -> object:
        known = [term for term in tokens(query) if term in peer.vocab_dict]
        return peer.get_scores(known)

    asked, peer_asked = each(index.scores, queries), each(ask_peer, queries)
    plain_asked = each(lambda query: plain.scores(tokens(query)), queries[:20])
    searched = each(lambda query: index.search(query, 10), queries)
    misspelled = [query[:-2] + query[-1] + query[-2] for query in queries]
    respelled = each(lambda query: index.search(query, 10), misspelled)

    print(f"{len(texts):,} documents, {len(index.vocabulary):,} terms, {len(index.documents):,} postings\n")
    print("| | retrieval.bm25 | bm25s | ratio | plain Python | ratio |\n|---|---:|---:|---:|---:|---:|")
    for label, ours, theirs, naive in (
        ("build, s", built, peer_built, plain_built),
        ("load, s", loaded, peer_loaded, None),
        ("on disk, MB", size, peer_size, None),
        ("scores of all documents, ms", asked, peer_asked, plain_asked),
    ):
        last = f"{naive:.2f} | {naive / ours:.1f}" if naive is not None else "| "
        print(f"| {label} | {ours:.2f} | {theirs:.2f} | {theirs / ours:.1f} | {last} |")
    print(f"| search, best 10, ms | {searched:.2f} | | | | |")
    print(f"| search, last two letters swapped, ms | {respelled:.2f} | | | | |")


if __name__ == "__main__":
    main()
