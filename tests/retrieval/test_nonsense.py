"""Nonsense has no items, in small and large catalogs; words that no title has, and model numbers nearby, still have."""

from __future__ import annotations

import random
import string
from pathlib import Path

import numpy as np
import pytest

from retrieval.bm25 import BM25Index
from retrieval.encoder import QUERY_MODEL, TextEncoder
from retrieval.fusion import fuse_what_fits
from tests.retrieval import nonsense

SIZES = (100, 1_000, 10_000)


@pytest.fixture(scope="module")
def indexes() -> dict[int, BM25Index]:
    found = nonsense.titles(max(SIZES))
    return {size: BM25Index.build(found[:size]) for size in SIZES}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", nonsense.IDENTIFIERS)
def test_an_identifier_finds_nothing_by_its_parts(indexes: dict[int, BM25Index], kind: str, size: int) -> None:
    draw = random.Random(kind)
    asked = [nonsense.IDENTIFIERS[kind](draw) for _ in range(200)]
    found = [text for text in asked if indexes[size].scores(text).any()]
    assert len(found) <= 10, found  # 5 %: four characters at which one of 4,000 model numbers begins, too


@pytest.mark.parametrize("size", SIZES)
def test_a_model_number_nearby_still_finds_its_like(indexes: dict[int, BM25Index], size: int) -> None:
    draw, titles = random.Random(4), nonsense.titles(size)
    models = [title.split()[-1] for title in titles if title.split()[-1].isupper() and len(title.split()[-1]) > 4]
    asked = [f"{one[:-1]}{draw.choice(string.digits if one[-1].isdigit() else string.ascii_uppercase)}"
             for one in draw.sample(models, min(100, len(models)))]  # fmt: skip
    found = [one for one in asked if indexes[size].scores(one).any()]
    assert len(found) >= 0.7 * len(asked), sorted(set(asked) - set(found))


#: What can be understood although no title has it, and what can only be looked up.
MEANT = ("couch", "zxqvkjwpf", "aspiradora", "ps5", "mp3", "wd40", "b12", "10000btu", "12-gauge", "2-light", "耳机",
         "کتاب", "contracto0r", "sofa 8f3a9c1e77", "AB-1234", "4x4")  # fmt: skip
NAMED = ("8f3a9c1e77", "3fa85f64-5717-4562-b3fc-2c963f66afa6", "123456789", "80/7", "d41d8cd98f00b204e9800998ecf8427e",
         "🎁", "---", "", "a1b2c3d4", "{6F9619FF-8B86-D011-B42D-00CF4FC964FF}", "DCD771C2Z9", "0x7f3a9c1e")  # fmt: skip


@pytest.mark.parametrize(("text", "meant"), [(t, True) for t in MEANT] + [(t, False) for t in NAMED])
def test_vectors_are_asked_for_what_can_mean_something(text: str, meant: bool) -> None:
    assert BM25Index.build(["oak desk"]).has_meaning(text) is meant


#: A title, and a query with none of its words that means it.
SYNONYMS = (
    ("Osterby beige three seat sofa", "couch"), ("Corvik vacuum cleaner", "hoover"), ("Halden trash can", "garbage"),
    ("Satin faucet for the sink", "spigot"), ("Wool carpet", "rug"), ("Marlow laptop sleeve", "notebook computer case"),
    ("Infant car seat", "baby"), ("Walnut night stand", "bedside table"), ("Kestrel sneakers", "running shoes"),
    ("Nordal flashlight", "torch lamp"), ("Pixton refrigerator", "fridge"), ("Lawn mower", "grass cutter"),
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("size", [100, 1_000])
def test_nonsense_has_no_items_and_other_words_for_the_same_have(encoder_folder: Path, size: int) -> None:
    titles = [*nonsense.titles(size - len(SYNONYMS)), *(title for title, _ in SYNONYMS)]
    index = BM25Index.build(titles)
    vectors = TextEncoder.load(encoder_folder, threads=2).encode(titles)
    asks = TextEncoder.load(encoder_folder, program=QUERY_MODEL)

    def answers(text: str) -> bool:
        return fuse_what_fits(index, text, index.scores(text), vectors @ asks.encode([text])[0], asks) is not None

    draw = random.Random(size)
    for kind, make in nonsense.KINDS.items():
        asked = [make(draw) for _ in range(50)]
        found = [text for text in asked if answers(text)]
        assert len(found) <= 1, f"{kind}: {found}"
    silent = [query for _, query in SYNONYMS if not answers(query)]
    assert len(silent) <= 1, silent
    assert answers("vacum cleaner")  # by the speller
    assert answers("lihgt bulb")


def test_the_floor_rises_with_the_catalog_and_with_how_broken_a_string_is() -> None:
    from retrieval.fusion import chance, is_close

    assert chance(100) < chance(1_000) < chance(1_000_000) < 0.6
    assert chance(1_000, 0.2) + 0.1 < chance(1_000, 0.6)
    dense = np.full(1_000, 0.35, dtype=np.float32)
    assert is_close(dense, 0.2)  # a word
    assert not is_close(dense, 0.6)  # random letters
    assert not is_close(np.empty(0, dtype=np.float32), 0.2)
