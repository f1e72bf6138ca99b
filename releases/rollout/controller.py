"""Moves approved releases towards all shoppers, and away from them, and makes the region follow.

Each tick reads the ledger and the engines, judges the release in progress, moves it at most one step in the ledger,
and then brings pointers and routes to what `traffic.plan` says. Nothing is remembered that could not be read again, so
a controller that is killed at any point goes on from the ledger and the logs. To abort, the routes come first: shoppers
are safe before anything is written down, also while the database takes no writes.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from artifacts.fence import Fence
from artifacts.ledger import CurrentRelease, Ledger, PlannedMove
from contracts.errors import Conflict, Fenced, NotApproved, StoreUnavailable
from contracts.release import CANARY_STEPS, State
from contracts.settings import Settings
from monitoring.canary_judge import CanaryState, CanaryVerdict, Decision, advance, begin, judge
from monitoring.canary_policy import CanaryPolicy, policy_named, without_waiting
from monitoring.guardrails import Outcomes
from monitoring.shadow import find_shadow_problem
from releases.approval.approval import Rules, recheck
from releases.approval.overdue import Lateness, settle
from releases.rollout import canary_record, reasons
from releases.rollout.abort_guard import AWAY, Guard, describe_verdict, reason_and_evidence, remember
from releases.rollout.canary_record import Memory
from releases.rollout.deployed import read_deployed, release_in_progress
from releases.rollout.freeze import frozen
from releases.rollout.log_readers import Watching
from releases.rollout.region import Region, follow, unsigned
from releases.rollout.traffic import Deployed
from releases.served_shop import serving_source

log = logging.getLogger(__name__)

ACTOR = "controller"


@dataclass(frozen=True, kw_only=True)
class _Trial:
    """What one look knows of the release in progress: beside whom, by which policy, and what was kept of it."""

    candidate: CurrentRelease
    deployed: Deployed
    policy: CanaryPolicy
    known: Memory
    now: float


class Controller:
    """One region's controller. Two of them cannot harm: the ledger lets one of two moves win."""

    def __init__(
        self,
        s: Settings,
        ledger: Ledger,
        database: Engine,
        region: Region,
        *,
        access_log: Path,
        answer_log: Path,
        policies: Callable[[str], CanaryPolicy] = policy_named,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._s = s
        self._ledger = ledger
        self._database = database
        self._region = region
        self._watching = Watching(s, region, access_log=access_log, answer_log=answer_log)
        self._rules = Rules.of(s)
        self._fence = Fence(s)
        self._policies = policies
        self._clock = clock
        self._guard = Guard(region, clock)
        self.doing = "starting"  # for people

    def tick(self) -> Deployed:
        """Look once, and act. Raises StoreUnavailable without the database, after guarding a running canary.

        Raises Fenced, before it touches anything, while another region is the active one.
        """
        self._fence.demand()
        now = self._clock()
        try:
            candidate = release_in_progress(self._ledger)
            deployed = read_deployed(self._ledger, candidate)
            self._guard.let_go(candidate)
            if candidate is None:
                self.doing = "no release is in progress"
            elif self._stepped(candidate, deployed, now):
                deployed = read_deployed(self._ledger, release_in_progress(self._ledger))
        except StoreUnavailable:
            self.guard()
            raise
        self._follow(deployed)
        return deployed

    def _stepped(self, candidate: CurrentRelease, deployed: Deployed, now: float) -> bool:
        try:
            return self._step(candidate, deployed, now)
        except (StoreUnavailable, Fenced):
            raise
        except Exception:  # not foreseen: however wrong this release is, the region follows the ledger
            self._follow(deployed)
            raise

    def _follow(self, deployed: Deployed) -> None:
        """Bring pointers and routes to the plan; shoppers who were taken away stay away."""
        taken = self._guard.taken
        if taken is not None and deployed.candidate == taken.digest:
            deployed = replace(deployed, candidate=None, state=None)
        follow(self._region, deployed, route=self._guard.route)

    def _step(self, candidate: CurrentRelease, deployed: Deployed, now: float) -> bool:
        """Judge the candidate where it is; True when it was moved."""
        policy, known = self._remembered(candidate, deployed, now)
        try:
            recheck(self._ledger, self._rules, candidate.source, candidate.digest)
        except NotApproved as error:
            self._ledger.note(candidate.source, candidate.digest, "refused", actor=ACTOR, reason=error.what)
            return self._back(candidate, f"approval: {error.what}", {})
        if known.champion != (deployed.champion or ""):
            return self._back(candidate, reasons.another_champion(known.champion, deployed.champion), {})
        trial = _Trial(candidate=candidate, deployed=deployed, policy=policy, known=known, now=now)
        if candidate.state == "approved":
            return self._warm_up(trial)
        if candidate.state == "shadow":
            return self._in_the_shadow(trial)
        return self._canary(trial)

    def _remembered(self, candidate: CurrentRelease, deployed: Deployed, now: float) -> tuple[CanaryPolicy, Memory]:
        approved = self._ledger.newest("approved", source=candidate.source, digest=candidate.digest)
        gated = self._ledger.newest("gated", source=candidate.source, digest=candidate.digest)
        name = str(gated.evidence.get("policy", "default")) if gated else "default"
        policy = self._policies(name)
        if approved is not None and approved.evidence.get("emergency"):
            policy = without_waiting(policy)
        known = canary_record.load(self._database, candidate.source, candidate.digest)
        if known is None or (candidate.state == "approved" and approved is not None and known.began_at < approved.at):
            known = canary_record.begin(candidate, policy=name, champion=deployed.champion, approved=approved, now=now)
            canary_record.save(self._database, known)
        return policy, known

    def _warm_up(self, trial: _Trial) -> bool:
        """Let the engines of both arms load their releases; no shopper meets the candidate before it is probed."""
        candidate, deployed, known = trial.candidate, trial.deployed, trial.known
        if self._frozen(trial.now):
            return False
        if why := unsigned(self._region, candidate.digest):
            return self._back(candidate, why, {})
        said = self._region.readiness()
        if said["canary"].refused == candidate.digest:
            return self._back(candidate, f"warm_up: the engine refuses it: {said['canary'].reason}", {})
        serving = serving_source(self._ledger)
        if said["canary"].serves == candidate.digest:
            if serving != candidate.source:
                why = reasons.without_canary(candidate.source, serving)
                return self._move(candidate, "champion", why, {"ready": True})
            if said["control"].serves == deployed.champion == said["champion"].serves:
                why = f"the canary's engine has {candidate.digest[:12]}, that of the control {known.champion[:12]}"
                return self._move(candidate, "shadow", why, {"ready": True})
        self.doing = "warming up"
        spent = trial.now - known.began_at.timestamp()
        if spent > trial.policy.warm_up_s:
            lacking = reasons.not_ready(said, candidate.digest, deployed.champion)
            return self._back(candidate, f"warm_up: not ready after {spent:.0f} s: {lacking}", {})
        return False

    def _in_the_shadow(self, trial: _Trial) -> bool:
        """Compare the candidate's answers with the champion's; shoppers get the champion's alone."""
        candidate, rules, now = trial.candidate, trial.policy.shadow, trial.now
        entered = self._entered(candidate, "shadow")
        spent = now - entered
        found = self._watching.shadow_of(trial.known, entered).compare(newest=rules.minimum_questions, now=now)
        wrong, late = find_shadow_problem(rules, found), spent > rules.maximum_s
        self.doing = reasons.in_the_shadow(rules, found, wrong)
        if wrong is not None and (late or found.seen >= rules.chances * rules.minimum_questions):
            return self._back(candidate, wrong, found.evidence())
        if wrong is None and found.asked >= rules.minimum_questions and spent >= rules.minimum_s:
            if self._frozen(now):
                return False
            return self._move(candidate, CANARY_STEPS[0], f"{found.answered} answers compared", found.evidence())
        if late:
            lacking = f"only {found.asked} of {rules.minimum_questions} questions within {rules.maximum_s:.0f} s"
            return self._overdue(trial, entered, lacking, found.evidence())
        return False

    def _canary(self, trial: _Trial) -> bool:
        """Judge what both arms met so far, and do what the verdict says."""
        candidate, policy, known, now = trial.candidate, trial.policy, trial.known, trial.now
        decided = self._guard.taken or known
        if decided.canary is not None and decided.canary.final in AWAY:  # and it did not come into the ledger then
            return self._away(trial, decided)
        state = known.canary or begin(policy, release=candidate.digest, at=now)
        if state.policy != policy.digest:
            return self._back(candidate, reasons.policy_changed(state.policy, policy.digest), {})
        reader = self._watching.canary_of(known, self._entered(candidate, CANARY_STEPS[0]))
        self._guard.watch(policy, replace(known, canary=state), trial.deployed, reader)
        found = self._guard.read(reader, policy, now)
        while state.step < CANARY_STEPS.index(candidate.state):  # moved, and killed before it was remembered
            state = advance(policy, state, found, at=now)
        said = self._region.readiness()["canary"]
        if said.refused == candidate.digest:
            return self._back(candidate, f"errors: the engine refuses it: {said.reason}", {})
        state, verdict = judge(policy, state, found, now=now)
        return self._act(trial, state, verdict, found)

    def _act(self, trial: _Trial, state: CanaryState, verdict: CanaryVerdict, found: Outcomes) -> bool:
        """Do what a verdict says, unless a freeze holds the canary where it is; harm takes its shoppers in any case."""
        candidate, now = trial.candidate, trial.now
        self.doing = describe_verdict(candidate.state, verdict)
        held = self._frozen(now)
        evidence, known = verdict.as_kept(), remember(trial.known, state, verdict, self.doing, now)
        if verdict.decision in AWAY:
            return self._away(trial, known)
        if verdict.decision is Decision.PROMOTE and not held and (why := unsigned(self._region, candidate.digest)):
            return self._back(candidate, why, evidence)
        canary_record.save(self._database, known)
        if self._guard.taken is not None:  # harm showed while that hung
            return self._away(trial, self._guard.taken)
        if held:
            return False
        if verdict.decision is Decision.ADVANCE:
            moved = self._move(candidate, CANARY_STEPS[state.step + 1], "; ".join(verdict.reasons), evidence)
            canary_record.save(self._database, replace(known, canary=advance(trial.policy, state, found, at=now)))
            return moved
        if verdict.decision is Decision.PROMOTE:
            moved = self._move(candidate, "champion", "; ".join(verdict.reasons), evidence)
            if self._guard.taken is not None:  # harm showed while that hung
                self._uncrown(trial, self._guard.taken)
            return moved
        if verdict.overdue:
            return self._overdue(trial, state.step_started, "; ".join(verdict.reasons), evidence)
        return False

    def _overdue(self, trial: _Trial, entered: float, lacking: str, evidence: dict[str, Any]) -> bool:
        """Do what the policy says of a step that has had its time; a person may have to be asked."""
        late = Lateness(release=trial.candidate, entered=entered, now=trial.now, lacking=lacking, evidence=evidence)
        why = settle(self._s, self._ledger, trial.policy.overdue, late)
        return why is not None and self._back(trial.candidate, why, evidence)

    def _frozen(self, now: float) -> bool:
        held = frozen(self._ledger, now=datetime.fromtimestamp(now, UTC))
        if held is not None:
            self.doing = f"frozen by {held.actor}: {held.reason}"
        return held is not None

    def guard(self) -> None:
        """Judge a running canary without the database, also while `tick` waits for one that hangs; harm ends it."""
        self._guard.look()

    def _away(self, trial: _Trial, known: Memory) -> bool:
        """Take the canary's shoppers first: a database that takes no writes must not keep them there."""
        self._guard.take(known, trial.deployed)
        canary_record.save(self._database, known)
        why, evidence = reason_and_evidence(known)
        return self._back(trial.candidate, why, evidence)

    def _uncrown(self, trial: _Trial, known: Memory) -> None:
        """Make the champion before serve again, as after a person's rollback."""
        source, digest, former = trial.candidate.source, trial.candidate.digest, trial.deployed.champion
        if former is None or self._ledger.state(source, digest) != "champion":
            return
        why, evidence = reason_and_evidence(known)
        planned = PlannedMove(
            source=source, digest=former, expected="retired", to="champion", former="rolled_back", actor=ACTOR,
            reason=why[:2000], evidence={**evidence, "rollback": True, "from": digest},
        )  # fmt: skip
        self._ledger.move(planned)

    def _entered(self, candidate: CurrentRelease, state: State) -> float:
        move = self._ledger.newest(state, source=candidate.source, digest=candidate.digest)
        return move.at.timestamp() if move else self._clock()

    def _back(self, candidate: CurrentRelease, why: str, evidence: dict[str, Any]) -> bool:
        return self._move(candidate, "rolled_back", why, evidence)

    def _move(self, candidate: CurrentRelease, to: State, why: str, evidence: dict[str, Any]) -> bool:
        try:
            planned = PlannedMove(
                source=candidate.source, digest=candidate.digest, to=to, expected=candidate.state, actor=ACTOR,
                reason=why[:2000], evidence=evidence, at=datetime.fromtimestamp(self._clock(), UTC),
            )  # fmt: skip
            self._ledger.move(planned)
        except Conflict as error:
            log.info("somebody else moved it: %s", error)
        log.info("%s %s -> %s: %s", candidate.digest[:12], candidate.state, to, why)
        return True
