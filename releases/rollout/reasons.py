"""Words why the controller moves a release, and what it does meanwhile, from what it saw."""

from __future__ import annotations

from collections.abc import Mapping

from monitoring.canary_policy import ShadowPolicy
from monitoring.shadow import ShadowComparison
from releases.rollout.region import EngineReadiness


def another_champion(met: str, serves: str | None) -> str:
    """Say why a comparison is over: the champion that it began with, and the one that serves."""
    began = f"it began beside champion {met[:12]}" if met else "it began beside no champion"
    return f"{began}, and {serves[:12] if serves else 'none'} serves now"


def not_ready(said: Mapping[str, EngineReadiness], candidate: str, champion: str | None) -> str:
    """Name the engines that do not have what they should, with what each of them says."""
    wanted = {"canary": candidate} | ({"control": champion, "champion": champion} if champion else {})
    lacking = "; ".join(
        f"engine {slot} serves {(said[slot].serves or 'nothing')[:12]}, not {digest[:12]}"
        + (f" ({said[slot].reason})" if said[slot].reason else "")
        for slot, digest in wanted.items()
        if said[slot].serves != digest
    )
    return lacking or "no champion serves beside it"


def without_canary(source: str, serving: str | None) -> str:
    """Say why a release meets all shoppers at once; `serving` is the shop whose release became champion last."""
    other = f"the region serves {serving}" if serving else "no release was ever champion in this region"
    return f"its engine is ready, and there is no champion of {source} to compare it with: {other}"


def in_the_shadow(rules: ShadowPolicy, found: ShadowComparison, wrong: str | None) -> str:
    """Say how many questions a shadow was asked, and what its answers show so far."""
    asked = f"shadow: {found.seen} questions asked, at least {rules.minimum_questions}"
    if not found.asked:
        return asked
    return f"{asked}; {wrong or f'{found.answered} of the newest {found.asked} answered, no worse than is allowed'}"


def policy_changed(then: str, now: str) -> str:
    """Say why a canary goes back whose policy has changed; both policies by their digests."""
    return f"the canary policy has changed since it started, from {then[:12]} to {now[:12]}; it needs a new approval"
