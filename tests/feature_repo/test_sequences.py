"""A history is a set of actions under one order: adding is order-insensitive, idempotent and capped."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from contracts.events import INTERACTIONS, KINDS
from feature_repo.sequences import EMPTY, MAX_LENGTH, Action, History, append, recent

actions = st.lists(
    st.builds(Action, st.integers(0, 60), st.sampled_from(["a", "b", "c"]), st.sampled_from(KINDS)), max_size=120
)
limits = st.integers(1, 20)


@given(actions, st.randoms(use_true_random=False), limits)
def test_the_order_of_arrival_does_not_matter(given: list[Action], draw: object, limit: int) -> None:
    shuffled = list(given)
    draw.shuffle(shuffled)  # type: ignore[attr-defined]
    one_by_one = EMPTY
    for action in shuffled:
        one_by_one = append(one_by_one, [action], limit)
    assert one_by_one == recent(given, limit)


@given(actions, actions, limits)
def test_adding_again_changes_nothing(old: list[Action], new: list[Action], limit: int) -> None:
    once = append(recent(old, limit), new, limit)
    assert append(once, new, limit) == once
    assert append(once, [], limit) == once


@given(actions)
def test_a_history_is_capped_and_oldest_first(given: list[Action]) -> None:
    history = recent(given)
    assert len(history.items) == len(history.kinds) == len(history.times) <= MAX_LENGTH
    assert history.times == sorted(history.times)
    assert set(history.kinds) <= set(INTERACTIONS)
    if len({a for a in given if a.kind in INTERACTIONS}) > MAX_LENGTH:
        assert len(history.items) == MAX_LENGTH
        dropped = {a for a in given if a.kind in INTERACTIONS} - set(history.actions())
        assert max(dropped) < min(history.actions())


def test_impressions_searches_and_actions_without_an_item_are_no_history() -> None:
    assert recent([Action(1, "a", "impression"), Action(2, "a", "search"), Action(3, "", "view")]) == EMPTY


def test_a_late_action_takes_the_place_its_time_gives_it() -> None:
    history = append(History(["a", "c"], ["view", "view"], [1, 3]), [Action(2, "b", "purchase")])
    assert history == History(["a", "b", "c"], ["view", "purchase", "view"], [1, 2, 3])
