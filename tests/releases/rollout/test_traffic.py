"""Where traffic goes, for everything a ledger and engines may say."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from contracts.release import CANARY_SHARE, IN_FLIGHT
from releases.rollout.traffic import Standing, plan
from serving.edge.edge import SLOTS, Split

DIGESTS = st.sampled_from(["a" * 64, "b" * 64, "c" * 64])
STANDINGS = st.builds(
    Standing,
    champion=st.none() | DIGESTS,
    former=st.none() | DIGESTS,
    candidate=st.none() | DIGESTS,
    state=st.none() | st.sampled_from(IN_FLIGHT),
)
SERVING = st.fixed_dictionaries({slot: st.none() | DIGESTS for slot in SLOTS})
A, B, C = "a" * 64, "b" * 64, "c" * 64


@given(STANDINGS, SERVING)
def test_shoppers_only_meet_the_champion_and_the_release_on_its_way(
    standing: Standing, serves: dict[str, str | None]
) -> None:
    split = plan(standing, serves).split
    assert split.control + split.rest + split.canary == 100
    assert split.control == split.canary
    if split.canary:
        assert standing.state is not None
        assert split.canary == CANARY_SHARE[standing.state]
        assert serves["canary"] == standing.candidate
        assert serves["control"] == standing.champion
    if standing.champion is not None and standing.champion in serves.values() and split.rest:
        assert serves[split.rest_engine] == standing.champion


@given(STANDINGS, SERVING)
def test_an_engine_that_shoppers_are_on_is_not_given_another_release(
    standing: Standing, serves: dict[str, str | None]
) -> None:
    wanted = plan(standing, serves)
    engine = wanted.split.rest_engine
    assert wanted.pointers.get(engine, standing.champion) == standing.champion


def test_a_promotion_is_a_change_of_weights() -> None:
    warm = {"champion": A, "control": A, "canary": B, "former": C}
    promoted = plan(Standing(champion=B, former=A), warm)
    assert (promoted.split.rest_engine, promoted.split.rest) == ("canary", 100)
    assert promoted.pointers == {"champion": B, "former": A}
    loaded = plan(Standing(champion=B, former=A), warm | {"champion": B})
    assert loaded.split == Split()


def test_so_is_a_rollback_and_the_engine_that_stands_in_keeps_its_release() -> None:
    warm = {"champion": B, "control": A, "canary": B, "former": A}
    back = plan(Standing(champion=A, former=C), warm)
    assert (back.split.rest_engine, back.split.rest) == ("former", 100)
    assert back.pointers == {"champion": A}
    done = plan(Standing(champion=A, former=C), warm | {"champion": A})
    assert (done.split, done.pointers["former"]) == (Split(), C)


def test_an_arm_keeps_its_share_when_its_engine_dies() -> None:
    standing = Standing(champion=A, candidate=B, state="canary_25")
    ready = {"champion": A, "control": A, "canary": B, "former": None}
    split = plan(standing, ready).split
    assert (split.control, split.rest, split.canary) == (25, 50, 25)
    assert plan(standing, ready | {"canary": None}, split).split.canary == 25
    assert plan(standing, ready | {"canary": None}).split.canary == 0


def test_a_shadow_gets_copies_and_no_shopper() -> None:
    ready = {"champion": A, "control": A, "canary": B, "former": None}
    split = plan(Standing(champion=A, candidate=B, state="shadow"), ready).split
    assert (split.mirror, split.rest, split.canary) == (True, 100, 0)
