"""Indexes texts by BM25, with scores computed when the index is built: a query only adds up its terms' postings.

The folder holds plain arrays and JSON (`np.load` without pickle, memory-mapped), so nothing in it can run code,
and the same texts give the same bytes:

    config.json       format, tokenizer version (older ones are asked by their own tokenizer), k1, b, documents
    vocabulary.json   the terms, sorted; position = term number
    offsets.npy       int64 [V + 1]  where each term's postings begin
    documents.npy     int32 [P]      document numbers, rising within a term
    weights.npy       float32 [P]    that term's share of that document's score
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from contracts.errors import UnreadableFile
from retrieval.spelling import Speller
from retrieval.tokenize import CURRENT, Tokenizer, tokenizer
from retrieval.topk import top_k

FORMAT = 1
#: Lower than the usual 1.2: a title that repeats a word is hardly more about it (docs/search.md).
K1 = 0.6
B = 0.75
#: How many of a query's first terms count, and of its unknown words are corrected: bounds on the cost of a request.
MAX_TERMS = 64
MAX_CORRECTIONS = 8
#: Of a code that no document has: the share of it that one must have in parts, the characters at its beginning that a
#: code like it must share, and how many like it are looked at.
MOST_OF_A_CODE, SHORTEST_BEGINNING, MOST_ALIKE = 2 / 3, 4, 16


class BM25Index:
    """BM25 in Lucene's form: idf = ln(1 + (N - df + 0.5) / (df + 0.5)), never negative."""

    def __init__(
        self,
        vocabulary: dict[str, int],
        offsets: NDArray[np.int64],
        documents: NDArray[np.int32],
        weights: NDArray[np.float32],
        *,
        size: int,
        k1: float,
        b: float,
        tokenizer: Tokenizer = CURRENT,
    ) -> None:
        self.vocabulary = vocabulary
        self._terms = list(vocabulary)  # sorted, as they are numbered
        self.offsets = offsets
        self.documents = documents
        self.weights = weights
        self.size = size
        self.k1 = k1
        self.b = b
        self.tokenizer = tokenizer
        found = np.diff(offsets).tolist()
        self._speller = Speller({term: found[number] for term, number in vocabulary.items()}, tokenizer.is_word)

    def __len__(self) -> int:
        return self.size

    @classmethod
    def build(cls, texts: Iterable[str], *, k1: float = K1, b: float = B, tokenizer: Tokenizer = CURRENT) -> BM25Index:
        """Index `texts`; a text's number is its position."""
        first_seen: dict[str, int] = {}
        terms: list[int] = []
        lengths: list[int] = []
        for text in texts:
            found = tokenizer.document(text)
            terms.extend([first_seen.setdefault(term, len(first_seen)) for term in found])
            lengths.append(len(found))
        size, width = len(lengths), len(first_seen)
        vocabulary = {term: number for number, term in enumerate(sorted(first_seen))}
        renumber = np.empty(width, dtype=np.int64)
        for term, number in first_seen.items():
            renumber[number] = vocabulary[term]
        length = np.asarray(lengths, dtype=np.int64)
        owner = np.repeat(np.arange(size, dtype=np.int64), length)
        # one integer per (term, document), so that sorting groups postings by term and orders their documents
        keys, counts = np.unique(renumber[np.asarray(terms, dtype=np.int64)] * max(size, 1) + owner, return_counts=True)
        term, document = np.divmod(keys, max(size, 1))
        frequency = np.bincount(term, minlength=width)
        idf = np.log1p((size - frequency + 0.5) / (frequency + 0.5))
        mean = max(float(length.mean()), 1e-9) if size else 1.0
        damping = k1 * (1.0 - b + b * length[document] / mean)
        return cls(
            vocabulary,
            np.concatenate([[0], np.cumsum(frequency)]).astype(np.int64),
            document.astype(np.int32),
            (idf[term] * counts / (counts + damping)).astype(np.float32),
            size=size,
            k1=k1,
            b=b,
            tokenizer=tokenizer,
        )

    def has_words(self, query: str) -> bool:
        """Tell whether `query` has a word or a number at all, known here or not."""
        return bool(self.tokenizer.document(query))

    def has_meaning(self, query: str) -> bool:
        """Tell whether `query` can be understood although nothing here has its words: not a number, nor a long code."""
        return self.tokenizer.has_meaning(query)

    def terms(self, query: str) -> list[str]:
        """Return the terms of `query` that the index knows, in order; none says that nothing here fits its words.

        Misspelled words are corrected and unknown ones left out. Behind them come neighbours that are also one word
        here ("door bell": doorbell).
        """
        is_word = self.tokenizer.is_word
        asked = self.tokenizer.query(query, self.vocabulary)[:MAX_TERMS]
        known: list[str] = []
        corrections = 0
        for term in asked:
            if term in self.vocabulary:
                known.append(term)
            elif corrections < MAX_CORRECTIONS:
                corrections += 1
                known.extend(self._speller.correct(term))
        joined = (a + b for a, b in pairwise(asked) if is_word(a) and is_word(b))
        return known + [term for term in joined if term in self.vocabulary]

    def scores(self, query: str) -> NDArray[np.float32]:
        """Score every document, float32 [N]; 0 where no term of `query` occurs. A repeated term counts again.

        Where it is nothing but codes that nothing here has, a document counts that has one which begins alike, or most
        of its parts: the numbers in a random identifier stand in many titles.
        """
        total = np.zeros(self.size, dtype=np.float32)
        terms, lone = self.terms(query), self.tokenizer.lone_codes(query, self.vocabulary)
        alike = {term for code in lone for term in self._beginning_alike(code)}
        for term in (*terms, *sorted(alike - set(terms))):
            documents, weights = self._postings(term)
            total[documents] += weights  # a document occurs once per term
        if lone:
            covered = np.zeros(self.size, dtype=np.int64)
            for term in set(terms):
                covered[self._postings(term)[0]] += len(term)
            meant = covered >= MOST_OF_A_CODE * min(map(len, lone))
            for term in alike:
                meant[self._postings(term)[0]] = True
            total[~meant] = 0
        return total

    def _postings(self, term: str) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Return the documents that have a known term, and its weight in each."""
        begin, end = self.offsets[self.vocabulary[term] :][:2]
        return self.documents[begin:end], self.weights[begin:end]

    def _beginning_alike(self, code: str) -> list[str]:
        """Return the first codes of the vocabulary that share the first half of `code`: DCD771C2 for DCD771Z9."""
        beginning = code[: max(SHORTEST_BEGINNING, (len(code) + 1) // 2)]
        first = bisect_left(self._terms, beginning)
        near = self._terms[first : first + MOST_ALIKE]
        return [term for term in near if term.startswith(beginning) and not self.tokenizer.is_word(term)]

    def search(self, query: str, k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return numbers and scores of the `k` best documents that share a term with `query`, best first, or fewer."""
        scores = self.scores(query)
        found = np.flatnonzero(scores > 0)
        best, score = top_k(scores[found], k)
        return found[best], score

    def save(self, directory: Path) -> None:
        """Write the index into `directory`, which may exist. The same index gives the same bytes."""
        directory.mkdir(parents=True, exist_ok=True)
        config = {
            "format": FORMAT,
            "tokenizer": self.tokenizer.version,
            "k1": self.k1,
            "b": self.b,
            "documents": self.size,
        }
        (directory / "config.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")
        (directory / "vocabulary.json").write_text(
            json.dumps(list(self.vocabulary), ensure_ascii=False, separators=(",\n", ":")), encoding="utf-8"
        )
        for name in ("offsets", "documents", "weights"):
            np.save(directory / f"{name}.npy", np.ascontiguousarray(getattr(self, name)), allow_pickle=False)

    @classmethod
    def load(cls, directory: Path) -> BM25Index:
        """Open the index in `directory`, memory-mapped and checked. Raises UnreadableFile."""
        try:
            config = json.loads((directory / "config.json").read_text())
            words = json.loads((directory / "vocabulary.json").read_text(encoding="utf-8"))
            offsets, documents, weights = (
                np.load(directory / f"{name}.npy", mmap_mode="r", allow_pickle=False)
                for name in ("offsets", "documents", "weights")
            )
            if config["format"] != FORMAT:
                raise ValueError(f"its format is {config['format']}, not {FORMAT}")
            index = cls(
                {word: number for number, word in enumerate(words)},
                np.asarray(offsets),
                documents,
                weights,
                size=int(config["documents"]),
                k1=float(config["k1"]),
                b=float(config["b"]),
                tokenizer=tokenizer(config["tokenizer"]),
            )
            index._check()
        except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
            raise UnreadableFile(
                f"the BM25 index in {directory} is not usable: {error}", remedy="build it again from the catalog"
            ) from error
        return index

    def _check(self) -> None:
        """Refuse arrays that could make a query read out of bounds."""
        arrays = ((self.offsets, "<i8"), (self.documents, "<i4"), (self.weights, "<f4"))
        if any(array.dtype != np.dtype(kind) or array.ndim != 1 for array, kind in arrays):
            raise ValueError("an array has the wrong type")
        if len(self.offsets) != len(self.vocabulary) + 1 or len(self.documents) != len(self.weights):
            raise ValueError("the lengths of the arrays do not match")
        if self.offsets[0] != 0 or self.offsets[-1] != len(self.documents) or np.any(np.diff(self.offsets) < 0):
            raise ValueError("the offsets are out of order")
        if len(self.documents) and not 0 <= int(self.documents.min()) <= int(self.documents.max()) < self.size:
            raise ValueError("a document number is out of range")
        if not np.isfinite(self.weights).all():
            raise ValueError("a weight is not a number")
