from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.spelling import Speller, edit_distances

WORDS = {"faucet": 40, "faced": 3, "toilet": 20, "chain": 9, "link": 8, "refrigerator": 5, "paint": 50, "pain": 1}
WORDS |= {"12": 10, "straße": 2, "ab": 4}


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("faucet", ["faucet"]),
        ("fuacet", ["faucet"]),  # neighbours swapped
        ("faucett", ["faucet"]),
        ("toliet", ["toilet"]),
        ("paimt", ["paint"]),
        ("chainlink", ["chain", "link"]),
        ("refrigeratr", ["refrigerator"]),
        ("refridgeraotr", ["refrigerator"]),  # two edits in a long word
        ("tailit", []),  # two edits in a short one
        ("zzzzz", []),
        ("13", []),  # a number is meant as it is written
        ("abc", []),
        ("strasse", []),
        ("x" * 500, []),
        ("", []),
    ],
)
def test_what_a_word_means(word: str, meant: list[str]) -> None:
    assert Speller(WORDS).correct(word) == meant


def test_of_equally_near_words_the_frequent_one_wins() -> None:
    assert Speller({"pant": 1, "paint": 5, "point": 2}).correct("pait") == ["paint"]


def test_without_words_nothing_is_corrected() -> None:
    assert Speller({}).correct("faucet") == []


def optimal_alignment(a: str, b: str) -> int:
    table = {(i, 0): i for i in range(len(a) + 1)} | {(0, j): j for j in range(len(b) + 1)}
    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            ways = [table[i - 1, j] + 1, table[i, j - 1] + 1, table[i - 1, j - 1] + (a[i - 1] != b[j - 1])]
            if i > 1 and j > 1 and a[i - 1] == b[j - 2] and a[i - 2] == b[j - 1]:
                ways.append(table[i - 2, j - 2] + 1)
            table[i, j] = min(ways)
    return table[len(a), len(b)]


LETTERS = st.text("abcé", min_size=1, max_size=9)


@given(LETTERS, st.lists(LETTERS, min_size=1, max_size=8), st.integers(1, 4))
def test_distances_as_by_the_textbook(word: str, others: list[str], most: int) -> None:
    for other, distance in zip(others, edit_distances(word, others, most), strict=True):
        expected = optimal_alignment(word, other)
        assert distance == expected if expected <= most else distance > most
