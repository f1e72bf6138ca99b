"""Takes a canary's shoppers away, also while the database does not answer, and keeps why until the ledger has it.

Two threads come here: the controller's look, and the guard beside a look that waits for the database.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from artifacts.ledger import CurrentRelease
from contracts.release import CANARY_SHARE
from monitoring.canary_judge import CanaryState, CanaryVerdict, Decision, begin, judge
from monitoring.canary_policy import CanaryPolicy
from monitoring.guardrails import Outcomes
from monitoring.outcomes import OutcomeReader
from releases.rollout.canary_record import Memory
from releases.rollout.region import Region
from releases.rollout.traffic import Deployed, plan
from serving.edge.edge import TrafficSplit

log = logging.getLogger(__name__)

#: Decisions that take a canary's shoppers away.
AWAY = (Decision.ABORT, Decision.VOID)


class Guard:
    """Of one region. What it needs to judge a canary without the database is what the last look left here."""

    def __init__(self, region: Region, clock: Callable[[], float]) -> None:
        self._region = region
        self._clock = clock
        self._reading, self._routing = threading.Lock(), threading.Lock()
        self._last: tuple[CanaryPolicy, Memory, Deployed, OutcomeReader] | None = None
        self.taken: Memory | None = None  # whose shoppers were taken away, with the verdict; they stay away

    def watch(self, policy: CanaryPolicy, known: Memory, deployed: Deployed, reader: OutcomeReader) -> None:
        """Let `look` judge a canary that runs, from now on."""
        self._last = policy, known, deployed, reader

    def let_go(self, candidate: CurrentRelease | None) -> None:
        """Forget a canary that runs no more, as the ledger says: what comes after has a new approval."""
        watched = self.taken or (self._last[1] if self._last else None)
        runs = candidate.digest if candidate is not None and candidate.state in CANARY_SHARE else None
        if watched is None or watched.digest != runs:
            self._last = self.taken = None

    def read(self, reader: OutcomeReader, policy: CanaryPolicy, now: float) -> Outcomes:
        with self._reading:
            return reader.read_outcomes(policy, now=now)

    def look(self) -> None:
        """Judge a running canary by what the last look left, and take its shoppers away when it does harm."""
        if self._last is None or self.taken is not None:
            return
        policy, known, deployed, reader = self._last
        now = self._clock()
        found = self.read(reader, policy, now)
        state = known.canary or begin(policy, release=known.digest, at=now)
        state, verdict = judge(policy, state, found, now=now)
        if verdict.decision in AWAY:
            said = describe_verdict(str(deployed.state), verdict)
            self.take(remember(known, state, verdict, said, now), deployed)
            log.warning("without an answer of the database: %s; its shoppers are back at the champion", said)

    def take(self, known: Memory, deployed: Deployed) -> None:
        """Send a canary's shoppers back to the champion. `known` has the decision."""
        self.taken = known
        serves = {slot: said.serves for slot, said in self._region.readiness().items()}
        self.route(plan(replace(deployed, candidate=None, state=None), serves).split)

    def route(self, split: TrafficSplit) -> None:
        with self._routing:
            self._region.route(split)


def describe_verdict(where: str, verdict: CanaryVerdict) -> str:
    """Put a verdict into words, for people."""
    return f"{where}: {verdict.decision}: {'; '.join(verdict.reasons)}"


def remember(known: Memory, state: CanaryState, verdict: CanaryVerdict, doing: str, now: float) -> Memory:
    """Add a look to the memory. PROMOTE holds for that look alone: until the ledger has it, harm must still abort."""
    if verdict.decision is Decision.PROMOTE:
        state = replace(state, final=None)
    return replace(known, canary=state, verdict={**verdict.as_kept(), "doing": doing, "at": now})


def reason_and_evidence(known: Memory) -> tuple[str, dict[str, Any]]:
    """Return reason and evidence of what was kept, as the ledger keeps them."""
    evidence = {name: value for name, value in (known.verdict or {}).items() if name not in ("doing", "at")}
    return f"{evidence['decision']}: {'; '.join(evidence['reasons'])}", evidence
