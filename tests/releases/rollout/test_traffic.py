"""Where traffic goes, for everything a ledger and engines may say."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from contracts.region import SLOTS
from contracts.release import CANARY_SHARE, IN_FLIGHT
from releases.rollout.traffic import Deployed, plan
from serving.edge.edge import TrafficSplit

DIGESTS = st.sampled_from(["a" * 64, "b" * 64, "c" * 64])
STANDINGS = st.builds(
    Deployed,
    champion=st.none() | DIGESTS,
    former=st.none() | DIGESTS,
    candidate=st.none() | DIGESTS,
    state=st.none() | st.sampled_from(IN_FLIGHT),
)
SERVING = st.fixed_dictionaries({slot: st.none() | DIGESTS for slot in SLOTS})
A, B, C = "a" * 64, "b" * 64, "c" * 64


@given(STANDINGS, SERVING)
def test_shoppers_only_meet_the_champion_and_the_release_release_in_progress(
    deployed: Deployed, serves: dict[str, str | None]
) -> None:
    split = plan(deployed, serves).split
    assert split.control + split.rest + split.canary == 100
    assert split.control == split.canary
    if split.canary:
        assert deployed.state is not None
        assert split.canary == CANARY_SHARE[deployed.state]
        assert serves["canary"] == deployed.candidate
        assert serves["control"] == deployed.champion
    if deployed.champion is not None and deployed.champion in serves.values() and split.rest:
        assert serves[split.rest_engine] == deployed.champion


@given(STANDINGS, SERVING)
def test_an_engine_that_shoppers_are_on_is_not_given_another_release(
    deployed: Deployed, serves: dict[str, str | None]
) -> None:
    wanted = plan(deployed, serves)
    engine = wanted.split.rest_engine
    assert wanted.pointers.get(engine, deployed.champion) == deployed.champion


def test_a_promotion_is_a_change_of_weights() -> None:
    warm = {"champion": A, "control": A, "canary": B, "former": C}
    promoted = plan(Deployed(champion=B, former=A), warm)
    assert (promoted.split.rest_engine, promoted.split.rest) == ("canary", 100)
    assert promoted.pointers == {"champion": B, "former": A}
    loaded = plan(Deployed(champion=B, former=A), warm | {"champion": B})
    assert loaded.split == TrafficSplit()


def test_so_is_a_rollback_and_the_engine_that_stands_in_keeps_its_release() -> None:
    warm = {"champion": B, "control": A, "canary": B, "former": A}
    back = plan(Deployed(champion=A, former=C), warm)
    assert (back.split.rest_engine, back.split.rest) == ("former", 100)
    assert back.pointers == {"champion": A}
    done = plan(Deployed(champion=A, former=C), warm | {"champion": A})
    assert (done.split, done.pointers["former"]) == (TrafficSplit(), C)


def test_an_arm_keeps_its_share_when_its_engine_dies() -> None:
    deployed = Deployed(champion=A, candidate=B, state="canary_25")
    ready = {"champion": A, "control": A, "canary": B, "former": None}
    split = plan(deployed, ready).split
    assert (split.control, split.rest, split.canary) == (25, 50, 25)
    assert plan(deployed, ready | {"canary": None}, split).split.canary == 25
    assert plan(deployed, ready | {"canary": None}).split.canary == 0


def test_a_shadow_gets_copies_and_no_shopper() -> None:
    ready = {"champion": A, "control": A, "canary": B, "former": None}
    split = plan(Deployed(champion=A, candidate=B, state="shadow"), ready).split
    assert (split.mirror, split.rest, split.canary) == (True, 100, 0)
