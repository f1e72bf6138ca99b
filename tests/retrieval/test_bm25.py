from __future__ import annotations

import json
import math
from pathlib import Path

import bm25s
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import UnreadableFile
from retrieval.bm25 import BM25Index
from retrieval.tokenize import tokenizer, tokens

TITLES = [
    "Delta Vero 1-Handle Shower Faucet in Chrome",
    "Toilet seat, white",
    "Shower curtain rod, chrome",
    "Doorbell kit, wired",
    "Door hinge 4 in.",
    "Chain link fence, 6 ft. x 50 ft.",
]
VOCABULARY = ["red", "blue", "lamp", "shade", "desk", "oak"]
TEXTS = st.lists(st.lists(st.sampled_from(VOCABULARY), max_size=8).map(" ".join), min_size=1, max_size=15)


def best(index: BM25Index, query: str) -> str:
    return TITLES[index.search(query, 1)[0][0]]


def test_queries_find_their_product() -> None:
    index = BM25Index.build(TITLES)
    assert best(index, "shower faucets") == TITLES[0]
    assert best(index, "WHITE TOLIET") == TITLES[1]
    assert best(index, "door bell") == TITLES[3]
    assert best(index, "chainlink") == TITLES[5]
    assert best(index, "4 inch hinge") == TITLES[4]


@pytest.mark.parametrize("query", ["", "   ", "%%%", "zzzz", "名前", "\x00", "1" * 10_000, "word " * 5_000])
def test_a_query_that_means_nothing_finds_nothing(query: str) -> None:
    index = BM25Index.build(TITLES)
    assert len(index.search(query, 10)[0]) == 0
    assert index.scores(query).tolist() == [0.0] * len(TITLES)


@given(TEXTS, st.lists(st.sampled_from(VOCABULARY), min_size=1, max_size=4))
def test_scores_are_those_of_the_formula(texts: list[str], query: list[str]) -> None:
    index = BM25Index.build(texts, k1=1.3, b=0.6)
    documents = [text.split() for text in texts]
    mean = max(sum(map(len, documents)) / len(documents), 1e-9)
    for number, document in enumerate(documents):
        expected = 0.0
        for term in query:
            holding = sum(term in other for other in documents)
            if holding:
                idf = math.log(1 + (len(documents) - holding + 0.5) / (holding + 0.5))
                count = document.count(term)
                expected += idf * count / (count + 1.3 * (1 - 0.6 + 0.6 * len(document) / mean))
        if all(term in index.vocabulary for term in query):
            assert index.scores(" ".join(query))[number] == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_scores_agree_with_an_independent_library() -> None:
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(VOCABULARY, size=rng.integers(1, 12))) for _ in range(300)]
    ours = BM25Index.build(texts, k1=1.5, b=0.75)
    theirs = bm25s.BM25(k1=1.5, b=0.75, method="lucene")
    theirs.index([tokens(text) for text in texts], show_progress=False)
    for query in ("red lamp", "oak desk blue", "shade"):
        np.testing.assert_allclose(ours.scores(query), theirs.get_scores(tokens(query)), rtol=1e-4)


def test_a_saved_index_answers_alike_and_has_the_same_bytes(tmp_path: Path) -> None:
    index = BM25Index.build(TITLES)
    index.save(tmp_path / "a")
    BM25Index.build(TITLES).save(tmp_path / "b")
    for file in sorted((tmp_path / "a").iterdir()):
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()
    loaded = BM25Index.load(tmp_path / "a")
    assert len(loaded) == len(TITLES)
    for query in ("shower chrome", "toliet", "door bell"):
        np.testing.assert_array_equal(loaded.scores(query), index.scores(query))


def test_an_empty_catalog_can_be_indexed(tmp_path: Path) -> None:
    for texts in ([], ["", "!"]):
        BM25Index.build(texts).save(tmp_path)
        assert len(BM25Index.load(tmp_path).search("lamp", 5)[0]) == 0


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _retype(path: Path) -> None:
    np.save(path, np.load(path).astype(np.float64))


def _negate(path: Path) -> None:
    np.save(path, -np.load(path))


def _pickled(path: Path) -> None:
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)


@pytest.mark.parametrize("damage", [Path.unlink, _cut, _retype, _negate, _pickled])
@pytest.mark.parametrize("name", ["documents.npy", "offsets.npy"])
def test_a_damaged_index_is_refused(tmp_path: Path, name: str, damage: object) -> None:
    BM25Index.build(TITLES).save(tmp_path)
    damage(tmp_path / name)  # type: ignore[operator]
    with pytest.raises(UnreadableFile, match=r"not usable.*build it again"):
        BM25Index.load(tmp_path)


def test_an_index_of_an_older_tokenizer_answers_as_it_did(tmp_path: Path) -> None:
    old = tokenizer(2)
    titles = ["Zip hoodies", "Oak shelves", "ガラス", "Drill AB-1234", "Bit .5 in", "Men's caf\u00e9 chair"]
    BM25Index.build(titles, tokenizer=old).save(tmp_path)
    loaded = BM25Index.load(tmp_path)
    assert loaded.tokenizer is old
    assert loaded.vocabulary.keys() == {
        *["zip", "hoody", "oak", "shelve", "カラス", "drill", "ab", "1234", "bit", "5", "in", "men", "cafe", "chair"]
    }
    assert loaded.terms("hoodies カラス ab1234 0.5 chiar") == ["hoody", "カラス", "ab", "1234", "chair"]
    assert loaded.search("AB1234", 1)[0].tolist() == [3]


def test_an_index_of_another_tokenizer_is_refused(tmp_path: Path) -> None:
    BM25Index.build(TITLES).save(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"tokenizer": config["tokenizer"] + 1}))
    with pytest.raises(UnreadableFile, match="tokenizer"):
        BM25Index.load(tmp_path)
