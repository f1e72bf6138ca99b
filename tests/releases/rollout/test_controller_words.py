"""What the controller says of a release follows what it saw."""

from __future__ import annotations

from monitoring.canary_policy import ShadowPolicy
from monitoring.shadow import ShadowComparison
from releases.rollout import reasons
from releases.rollout.region import EngineReadiness

A, B, C = "a" * 64, "b" * 64, "c" * 64


def test_another_champion_is_named_and_none_is_not_called_one() -> None:
    assert reasons.another_champion(A, B) == f"it began beside champion {A[:12]}, and {B[:12]} serves now"
    assert reasons.another_champion("", B) == f"it began beside no champion, and {B[:12]} serves now"
    assert reasons.another_champion(A, None).endswith("and none serves now")


def test_the_engine_that_is_not_ready_is_named() -> None:
    said = {
        "canary": EngineReadiness(serves=B),
        "control": EngineReadiness(reason="loading"),
        "champion": EngineReadiness(serves=A),
    }
    assert reasons.not_ready(said, B, A) == f"engine control serves nothing, not {A[:12]} (loading)"
    said |= {"control": EngineReadiness(serves=A), "canary": EngineReadiness(serves=C)}
    assert reasons.not_ready(said, B, A) == f"engine canary serves {C[:12]}, not {B[:12]}"


def test_a_release_without_a_canary_says_whom_the_region_serves() -> None:
    assert "the region serves office" in reasons.without_canary("shop", "office")
    assert "no release was ever champion" in reasons.without_canary("shop", None)


def test_a_shadow_that_was_asked_nothing_is_not_said_to_do_well() -> None:
    rules = ShadowPolicy(minimum_questions=50)
    assert reasons.in_the_shadow(rules, ShadowComparison(), None) == "shadow: 0 questions asked, at least 50"
    some = ShadowComparison(seen=9, asked=9, answered=8)
    assert reasons.in_the_shadow(rules, some, None).endswith("8 of the newest 9 answered, no worse than is allowed")
    assert reasons.in_the_shadow(rules, some, "errors: 7 of 9").endswith("; errors: 7 of 9")
