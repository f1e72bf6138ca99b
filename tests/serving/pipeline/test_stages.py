"""The stages, each on its own: what comes out of sources, filters and the selector, for any input."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from serving.bundle.release import Release
from serving.pipeline.candidates import Candidates, Fallback, Query
from serving.pipeline.filters import FILTERS
from serving.pipeline.hydrators import make_query
from serving.pipeline.pipeline import describe_chosen, rank
from serving.pipeline.schemas import RecommendRequest
from serving.pipeline.selectors import select
from serving.pipeline.shoppers import ShopperHistory
from serving.pipeline.sources import merge, take_from_popular, take_from_sequence
from serving.pipeline.stage_timings import StageWatch
from tests.serving import tiny_release

indexes = st.lists(st.integers(0, 59), max_size=40).map(lambda found: np.array(found, dtype=np.int64))


def candidates_of(index: list[int], score: list[float] | None = None, category: list[int] | None = None) -> Candidates:
    size = len(index)
    return Candidates(
        index=np.array(index, dtype=np.int64),
        source=np.zeros(size, dtype=np.int8),
        score=np.array(score or [0.0] * size, dtype=np.float32),
        category=np.array(category or [0] * size, dtype=np.int32),
        available=np.arange(size) % 7 != 0,
    )


@given(
    found=st.sets(st.integers(0, 59)),
    history=indexes,
    excluded=indexes,
    hide_seen=st.booleans(),
    hide_purchased=st.booleans(),
)
def test_filters_keep_and_remove_everything_once(
    *, found: set[int], history: np.ndarray, excluded: np.ndarray, hide_seen: bool, hide_purchased: bool
) -> None:
    query = Query(
        user="u",
        k=5,
        history=history,
        purchased=history[:3],
        excluded=excluded,
        hide_seen=hide_seen,
        hide_purchased=hide_purchased,
    )
    left = candidates_of(sorted(found))
    for apply in FILTERS.values():
        split = apply(left, query)
        assert sorted([*split.kept.index, *split.removed.index]) == sorted(left.index)
        left = split.kept
    assert left.available.all()
    assert not set(left.index.tolist()) & set(excluded.tolist())
    if hide_seen:
        assert not set(left.index.tolist()) & set(history.tolist())
    if hide_purchased:
        assert not set(left.index.tolist()) & set(history[:3].tolist())


@given(
    st.lists(st.tuples(st.integers(-3, 3), st.integers(-1, 4)), max_size=40),
    st.integers(1, 20),
    st.none() | st.integers(1, 5),
)
def test_selector_is_the_plain_loop(rows: list[tuple[int, int]], k: int, cap: int | None) -> None:
    chosen = select(candidates_of(list(range(len(rows))), [float(s) for s, _ in rows], [c for _, c in rows]), k, cap)
    expected: list[int] = []
    taken: dict[int, int] = {}
    for index in sorted(range(len(rows)), key=lambda i: (-rows[i][0], i)):
        category = rows[index][1]
        if cap is not None and category >= 0 and taken.get(category, 0) >= cap:
            continue
        taken[category] = taken.get(category, 0) + 1
        expected.append(index)
    assert chosen.index.tolist() == expected[:k]


@given(st.lists(st.lists(st.integers(0, 9), unique=True), min_size=1, max_size=4))
def test_merge_keeps_the_first_appearance(lists: list[list[int]]) -> None:
    index, origin = merge(*[np.array(one, dtype=np.int64) for one in lists])
    expected = {item: number for number, one in reversed(list(enumerate(lists))) for item in reversed(one)}
    assert dict(zip(index.tolist(), origin.tolist(), strict=True)) == expected
    assert len(set(index.tolist())) == len(index)


def test_the_sequence_source_is_the_whole_ranking(release: Release) -> None:
    vector = release.program.query(np.array([5, 10]))
    np.testing.assert_allclose(vector, release.vectors[[5, 10]].mean(axis=0), rtol=1e-5)
    scores = release.vectors @ vector
    scores[[3, 8]] = -np.inf
    assert take_from_sequence(release, vector, 20).tolist() == np.argsort(-scores, kind="stable")[:20].tolist()


def test_popular_items_of_the_category_come_first(release: Release) -> None:
    found = take_from_popular(release, "kitchen/tea", 20)
    here = [release.items.category_names[c] == "kitchen/tea" for c in release.items.category[found]]
    assert here == sorted(here, reverse=True)
    assert sum(here) == 12
    assert take_from_popular(release, "no such category", 20).tolist() == release.popular["all"][:20].tolist()


@given(
    history=indexes,
    excluded=indexes,
    k=st.integers(1, 100),
    hide_seen=st.booleans(),
    cap=st.none() | st.integers(1, 30),
)
def test_an_answer_is_as_long_as_the_catalog_allows(
    release: Release, *, history: np.ndarray, excluded: np.ndarray, k: int, hide_seen: bool, cap: int | None
) -> None:
    query = Query(user="u", k=k, history=history, excluded=excluded, hide_seen=hide_seen, max_per_category=cap)
    chosen = rank(release, query, StageWatch()).chosen.index.tolist()
    left = set(range(60)) - {3, 8} - set(excluded.tolist())
    if hide_seen:
        left -= set(history.tolist())
    most = sum(min(cap or 60, sum(release.items.category[i] == c for i in left)) for c in range(5))
    assert len(chosen) == min(k, most)
    assert set(chosen) <= left
    assert len(set(chosen)) == len(chosen)


@given(history=indexes, k=st.integers(1, 40), diversity=st.sampled_from([0.0, 0.5, 0.9]))
def test_a_ranked_answer_says_why_and_its_parts_are_its_score(
    ranked_release: Release, *, history: np.ndarray, k: int, diversity: float
) -> None:
    query = Query(user="u", k=k, history=history, diversity=diversity)
    result = rank(ranked_release, query, StageWatch())
    items = describe_chosen(ranked_release, result, why=True)
    assert len({item["item_id"] for item in items}) == len(items) == k
    names = {ranked_release.items.ids[row] for row in history.tolist()}
    for item in items if len(history) else []:
        because = item["because"]
        assert because["source"] == item["source"]
        assert because.get("item_id") in {None, *names}
        assert abs(sum(because["parts"].values()) - item["score"]) < 1e-4
    assert all("because" not in item for item in describe_chosen(ranked_release, result))


def test_a_release_of_an_earlier_version_is_served_by_its_model_alone(release: Release) -> None:
    query = Query(user="u", k=5, history=np.array([5, 10]), diversity=0.5)
    items = describe_chosen(release, rank(release, query, StageWatch()), why=True)
    assert [set(item) & {"because"} for item in items] == [set()] * 5
    assert {item["source"] for item in items} <= {"sequence", "popular"}


def page(release: Release, found: ShopperHistory | Fallback, **context: object) -> tuple[Query, list[int]]:
    request = RecommendRequest.model_validate({"user_id": "u", "k": 8, "context": context})
    query = make_query(release, found, "u", request)
    return query, rank(release, query, StageWatch()).chosen.index.tolist()


SEEN = ShopperHistory(
    items=[tiny_release.item_id(row) for row in (20, 31, 42)], kinds=["view"] * 3, purchased=[], stale=False
)


@pytest.mark.parametrize("found", [SEEN, Fallback.UNKNOWN_SHOPPER], ids=["known", "new"])
@pytest.mark.parametrize("which", ["release", "ranked_release"])
def test_a_category_page_shows_nothing_else(
    found: ShopperHistory | Fallback, which: str, request: pytest.FixtureRequest
) -> None:
    release = request.getfixturevalue(which)
    for name in release.items.category_names:
        _, chosen = page(release, found, page="category", category=name)
        assert len(chosen) == 8
        assert {release.items.category_names[code] for code in release.items.category[chosen]} == {name}
    assert page(release, found, page="category", category="no such one")[1] == []


@pytest.mark.parametrize("which", ["release", "ranked_release"])
def test_what_is_on_the_page_is_not_in_its_answer(which: str, request: pytest.FixtureRequest) -> None:
    release = request.getfixturevalue(which)
    shown = [tiny_release.item_id(row) for row in (10, 11, 12)]
    for kind, hidden in (("home", set()), ("item", {12}), ("cart", {10, 11, 12})):
        query, chosen = page(release, SEEN, page=kind, items=shown)
        assert query.history.tolist() == [20, 31, 42, 10, 11, 12]
        assert not hidden & set(chosen)
        assert len(chosen) == 8


def test_a_new_shopper_s_cart_is_answered_by_what_goes_with_it(ranked_release: Release) -> None:
    """The next three of each item follow it in this release."""
    _, chosen = page(ranked_release, Fallback.UNKNOWN_SHOPPER, page="cart", items=[tiny_release.item_id(30)])
    assert {31, 32, 33} <= set(chosen)


@pytest.mark.parametrize("context", [{"page": "item"}, {"page": "cart"}, {"page": "category"}, {"page": "checkout"}])
def test_a_page_without_what_it_shows_is_refused(context: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        RecommendRequest.model_validate({"user_id": "u", "context": context})
