from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.tokenize import tokens
from retrieval.words.plurals import singular


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("Simpson Strong-Tie 12-Gauge Angles", ["simpson", "strong", "tie", "12", "gauge", "angle"]),
        ("1-gal. #SC-141 paint", ["1", "gal", "sc", "141", "sc141", "paint"]),
        ("2 Gallons", ["2", "gal"]),
        ("18V 4.0Ah drill", ["18", "v", "4.0", "ah", "drill"]),
        ("3/4\" x 6' pipe", ["3/4", "in", "x", "6", "ft", "pipe"]),
        ("1½ in. × 2 ft²", ["1", "1/2", "in", "2", "ft", "2", "ft2"]),
        ("10,000 BTU, 1,2,3", ["10000", "btu", "1", "2", "3"]),
        ("Men's men’s mens", ["man", "man", "man"]),
        ("CRÈME brûlée ﬁsh Ｆｕｌｌ", ["creme", "brulee", "fish", "full"]),
        ("a square foot", ["a", "square", "foot"]),
        ("8 square feet", ["8", "sq", "foot"]),
        ("snake_case--x", ["snake", "case", "x"]),
        ("Škoda ключи", ["skoda", "ключи"]),
        ("", []),
        ("™ !!! …", ["tm"]),
    ],
)
def test_terms(text: str, terms: list[str]) -> None:
    assert tokens(text) == terms


@pytest.mark.parametrize(
    ("word", "one"),
    [
        ("batteries", "battery"),
        ("boxes", "box"),
        ("brushes", "brush"),
        ("switches", "switch"),
        ("tiles", "tile"),
        ("glass", "glass"),
        ("glasses", "glass"),
        ("gas", "gas"),
        ("cactus", "cactus"),
        ("chassis", "chassis"),
        ("ties", "tie"),
        ("hoodies", "hoody"),
        ("hoodie", "hoody"),
        ("candelabra", "candelabra"),
        ("hinges", "hinge"),
    ],
)
def test_plurals(word: str, one: str) -> None:
    assert singular(word) == one


@given(st.text(max_size=80))
def test_any_text_has_plain_terms_and_case_does_not_matter(text: str) -> None:
    terms = tokens(text)
    assert all(term and not any(c.isspace() for c in term) for term in terms)
    assert tokens(text.casefold()) == terms


@given(st.text(max_size=40), st.text(max_size=40))
def test_lines_do_not_run_together(a: str, b: str) -> None:
    if tokens(a) and tokens(a)[-1].isalpha():
        assert tokens(f"{a} | {b}") == tokens(a) + tokens(b)
