"""Defines the settings of a canary: guardrails, steps, error rates; checked when they are made."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Literal, get_args

from contracts.errors import SettingsError
from contracts.release import CANARY_SHARE
from monitoring.guardrails import GUARDRAILS, Guardrail

MINUTE, HOUR = 60.0, 3600.0
#: What becomes of a release that has not proven itself in a step's maximum time.
Overdue = Literal["ask", "rollback", "hold"]


@dataclass(frozen=True, kw_only=True)
class CanaryStep:
    """One share of the traffic. `share` in percent, for the canary and again for the control; times in seconds.

    The step is over when the smaller arm has gained `minimum_shoppers` and `minimum_s` have passed; after
    `maximum_s` without a verdict the policy's `overdue` says what is done.
    """

    share: float
    minimum_shoppers: int
    minimum_s: float
    maximum_s: float

    def __post_init__(self) -> None:
        problems = [
            (not 0 < self.share <= 50, "share: above 0, at most 50: the control is of the same size"),
            (self.minimum_shoppers < 1, "minimum_shoppers: at least 1"),
            (not 0 <= self.minimum_s < self.maximum_s < math.inf, "0 <= minimum_s < maximum_s"),
        ]
        if wrong := [rule for broken, rule in problems if broken]:
            raise SettingsError(f"a canary step of {self.share} % is not usable", remedy="; ".join(wrong))


@dataclass(frozen=True, kw_only=True)
class ShadowPolicy:
    """The time that a release is asked in the shadow, and how much worse it may answer there. Times in seconds.

    The newest `minimum_questions` are judged: `allowed_share` of them or `allowed_count`, whichever is more, may be
    lost, empty or fallbacks beyond the champion's. A store that did not answer for a second must not refuse a release:
    with too many, more questions are asked, and only after `chances` times the minimum the release is to blame.
    """

    minimum_questions: int = 500
    minimum_s: float = 5 * MINUTE
    maximum_s: float = 12 * HOUR
    allowed_share: float = 0.01
    allowed_count: int = 5
    chances: int = 3


def _steps(*limits: tuple[int, float, float]) -> tuple[CanaryStep, ...]:
    """Give every step of a canary its (minimum_shoppers, minimum_s, maximum_s)."""
    return tuple(
        CanaryStep(share=share, minimum_shoppers=shoppers, minimum_s=minimum_s, maximum_s=maximum_s)
        for share, (shoppers, minimum_s, maximum_s) in zip(CANARY_SHARE.values(), limits, strict=True)
    )


#: For a shop with thousands of shoppers a day. The last step covers a day at least, so that no hour goes unseen.
STEPS = _steps(
    (100, 15 * MINUTE, 12 * HOUR),
    (250, 30 * MINUTE, 12 * HOUR),
    (1000, 1 * HOUR, 24 * HOUR),
    (1000, 24 * HOUR, 96 * HOUR),
)


@dataclass(frozen=True, kw_only=True)
class CanaryPolicy:
    """The rules by which a canary is judged. Raises SettingsError when they contradict each other.

    `alpha`: probability that a harmless release is ever aborted, over all guardrails together. `beta`: probability that
    one over the line of any guardrail is promoted. `mismatch_alpha`: that a fair split is called broken.
    `warm_up_s`: time an engine may take to get ready with the release. `proof` False: the last step promotes without
    proof, when no harm was shown; for emergencies.
    `maximum_lag_s`: a log that is complete only up to a time longer ago than this is late.
    `overdue`: what is done when a step has had its maximum time without a verdict: people are asked while the release
    stays where it is, it goes back, or it is held without a word. It changes no evidence, so it is not in the digest.
    """

    guardrails: tuple[Guardrail, ...] = GUARDRAILS
    steps: tuple[CanaryStep, ...] = STEPS
    shadow: ShadowPolicy = ShadowPolicy()
    warm_up_s: float = 10 * MINUTE
    proof: bool = True
    alpha: float = 0.01
    beta: float = 0.01
    mismatch_alpha: float = 0.001
    maximum_lag_s: float = 120.0
    overdue: Overdue = "ask"

    def __post_init__(self) -> None:
        names = [g.name for g in self.guardrails]
        shares = [s.share for s in self.steps]
        problems = [
            (not names, "guardrails: at least one"),
            (len(set(names)) < len(names), "guardrails: each name once"),
            (not shares, "steps: at least one"),
            (
                any(b <= a for a, b in pairwise(shares)),
                "steps: growing shares, so no shopper moves",
            ),
            (not 0 < self.alpha < 1, "alpha: between 0 and 1"),
            (not 0 < self.beta < 1, "beta: between 0 and 1"),
            (not 0 < self.mismatch_alpha < 1, "mismatch_alpha: between 0 and 1"),
            (not 0 < self.maximum_lag_s < math.inf, "maximum_lag_s: above 0"),
            (self.overdue not in get_args(Overdue), f"overdue: one of {', '.join(get_args(Overdue))}"),
        ]
        if wrong := [rule for broken, rule in problems if broken]:
            raise SettingsError("the canary policy is not usable", remedy="; ".join(wrong))

    @property
    def log_abort(self) -> float:
        """Return log(m / alpha): the evidence at which one of m guardrails aborts."""
        return math.log(len(self.guardrails) / self.alpha)

    @property
    def log_proof(self) -> float:
        """Return log(1 / beta): the evidence that every guardrail needs. All must prove, so nothing is divided by m."""
        return -math.log(self.beta)

    @property
    def log_mismatch(self) -> float:
        """Return the log of the evidence at which the split counts as broken."""
        return -math.log(self.mismatch_alpha)

    @property
    def digest(self) -> str:
        """Return the SHA-256 of the settings: evidence gathered under one policy is not judged by another."""
        judged = {name: value for name, value in asdict(self).items() if name != "overdue"}
        body = json.dumps(judged, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(body.encode()).hexdigest()


#: A demo's machine is busy with training, so slow answers and missed features are part of it.
_DEMO_DELTAS = {"clicks": 0.0, "carts": 0.1, "purchases": 0.1, "over_budget": 0.15, "fallbacks": 0.15}
#: For a demo or a test with some hundred shoppers: margins so wide that few are enough. Not for a real shop.
DEMO = CanaryPolicy(
    guardrails=tuple(
        replace(g, ratio=3.0, delta=_DEMO_DELTAS.get(g.name, 0.03), follow_up_s=min(g.follow_up_s, 2.0))
        for g in GUARDRAILS
    ),
    steps=_steps((1, 2, 10 * MINUTE), (5, 2, 10 * MINUTE), (30, 2, 10 * MINUTE), (100, 2, 20 * MINUTE)),
    shadow=ShadowPolicy(minimum_questions=50, minimum_s=3, maximum_s=10 * MINUTE),
    warm_up_s=3 * MINUTE,
    alpha=0.002,
    mismatch_alpha=1e-5,
)
#: The policies that a release can be made with; people approve the policy with the release.
POLICIES = {"default": CanaryPolicy(), "demo": DEMO}


def policy_named(name: str) -> CanaryPolicy:
    """Return the policy of this name. Raises SettingsError when there is none."""
    if name not in POLICIES:
        raise SettingsError(f"there is no canary policy {name!r}", remedy=f"use one of: {', '.join(sorted(POLICIES))}")
    return POLICIES[name]


def without_waiting(policy: CanaryPolicy) -> CanaryPolicy:
    """Return the policy for an emergency: the same guardrails and the same ABORT, but no waiting and no proof."""
    steps = tuple(replace(step, minimum_shoppers=1, minimum_s=0.0) for step in policy.steps)
    shadow = replace(policy.shadow, minimum_questions=0, minimum_s=0.0)
    return replace(policy, steps=steps, shadow=shadow, proof=False)
