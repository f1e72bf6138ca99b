"""A history is a set of actions under one order: adding is order-insensitive, idempotent and capped."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.events import INTERACTIONS, KINDS
from feature_repo.sequences import EMPTY, MAX_LENGTH, Action, History, append, recent, tie_break

actions = st.lists(
    st.builds(Action, st.integers(0, 60), st.sampled_from(["a", "b", "c"]), st.sampled_from(KINDS)), max_size=120
)
limits = st.integers(1, 20)


def place(action: Action) -> tuple[int, str]:
    return action.time, tie_break("u", action)


@given(actions, st.randoms(use_true_random=False), limits)
def test_the_order_of_arrival_does_not_matter(given: list[Action], draw: object, limit: int) -> None:
    shuffled = list(given)
    draw.shuffle(shuffled)  # type: ignore[attr-defined]
    one_by_one = EMPTY
    for action in shuffled:
        one_by_one = append("u", one_by_one, [action], limit)
    assert one_by_one == recent("u", given, limit)


@given(actions, actions, limits)
def test_adding_again_changes_nothing(old: list[Action], new: list[Action], limit: int) -> None:
    once = append("u", recent("u", old, limit), new, limit)
    assert append("u", once, new, limit) == once
    assert append("u", once, [], limit) == once


@given(actions)
def test_a_history_is_capped_and_oldest_first(given: list[Action]) -> None:
    history = recent("u", given)
    assert len(history.items) == len(history.kinds) == len(history.times) <= MAX_LENGTH
    assert history.times == sorted(history.times)
    assert set(history.kinds) <= set(INTERACTIONS)
    if len({a for a in given if a.kind in INTERACTIONS}) > MAX_LENGTH:
        assert len(history.items) == MAX_LENGTH
        dropped = {a for a in given if a.kind in INTERACTIONS} - set(history.actions())
        oldest = min(history.actions(), key=place)
        assert all(place(action) < place(oldest) for action in dropped)


def test_impressions_searches_and_actions_without_an_item_are_no_history() -> None:
    assert recent("u", [Action(1, "a", "impression"), Action(2, "a", "search"), Action(3, "", "view")]) == EMPTY


def test_a_late_action_takes_the_place_its_time_gives_it() -> None:
    history = append("u", History(["a", "c"], ["view", "view"], [1, 3]), [Action(2, "b", "purchase")])
    assert history == History(["a", "b", "c"], ["view", "purchase", "view"], [1, 2, 3])


@pytest.mark.parametrize(
    ("action", "begins"),
    [
        (
            ("u_0f", Action(1_767_225_600_000_000, "i-1", "view")),
            "1fe1aac97dd66ec9",
        ),
        (
            ("u_0f", Action(1_767_225_600_000_000, "Stuhl, grün|椅", "purchase")),
            "7c1a7e90d3ca3109",
        ),
    ],
)
def test_the_order_of_a_tie_is_the_same_in_every_version(action: tuple[str, Action], begins: str) -> None:
    """Histories at rest, online and in training were put in order at different times, by different programs."""
    assert tie_break(*action)[:16] == begins


def test_the_lines_of_an_order_have_no_order_of_their_own() -> None:
    """Neither the alphabet nor one order for all: what comes first in a basket differs between shoppers and times."""
    first = [recent(f"u{n}", [Action(n, item, "view") for item in "abc"]).items[0] for n in range(300)]
    assert all(70 < first.count(item) < 130 for item in "abc")
