"""The controller: moves approved releases towards all shoppers, and away from them, and makes the region follow.

Each tick reads the ledger and the engines, judges the release on its way, moves it at most one step in the ledger,
and then brings pointers and routes to what `traffic.plan` says. Nothing is remembered that could not be read again, so
a controller that is killed at any point goes on from the ledger and the logs. To abort, the routes come first: shoppers
are safe before anything is written down, also while the database takes no writes.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from artifacts.fence import Fence
from artifacts.ledger import Ledger, Place
from contracts.errors import ArtifactError, Conflict, Fenced, NotApproved, StoreUnavailable
from contracts.release import State
from contracts.settings import Settings
from monitoring.canary_judge import Decision, advance, begin, judge
from monitoring.canary_policy import CanaryPolicy, policy_named, without_waiting
from monitoring.shadow import find_shadow_problem
from releases.approval.approval import Rules, recheck
from releases.rollout import canary_record, reasons
from releases.rollout.abort_guard import AWAY, Guard, for_ledger, kept, told
from releases.rollout.canary_record import Memory
from releases.rollout.deployed import on_its_way, standing_of
from releases.rollout.freeze import frozen
from releases.rollout.log_readers import Watching
from releases.rollout.region import Readiness, Region
from releases.rollout.traffic import Standing, describe, plan

log = logging.getLogger(__name__)

ACTOR = "controller"
#: The road of a canary, one step of the policy each.
STEPS: tuple[State, ...] = ("canary_1", "canary_5", "canary_25", "canary_50")


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

    def tick(self) -> Standing:
        """Look once, and act. Raises StoreUnavailable without the database, after guarding a running canary.

        Raises Fenced, having touched nothing, while another region is the active one.
        """
        self._fence.demand()
        now = self._clock()
        try:
            candidate = on_its_way(self._ledger)
            standing = standing_of(self._ledger, candidate)
            self._guard.let_go(candidate)
            if candidate is None:
                self.doing = "nothing is on its way"
            elif self._stepped(candidate, standing, now):
                standing = standing_of(self._ledger, on_its_way(self._ledger))
        except StoreUnavailable:
            self.guard()
            raise
        self._follow(standing)
        return standing

    def _stepped(self, candidate: Place, standing: Standing, now: float) -> bool:
        try:
            return self._step(candidate, standing, now)
        except (StoreUnavailable, Fenced):
            raise
        except Exception:  # nobody foresaw it: whatever is wrong with this release, the region follows the ledger
            self._follow(standing)
            raise

    def _follow(self, standing: Standing) -> None:
        """Pointers and routes as planned; what is so already is not touched."""
        taken = self._guard.taken
        if taken is not None and standing.candidate == taken.digest:
            standing = replace(standing, candidate=None, state=None)
        said = self._region.readiness()
        serves = {slot: one.serves for slot, one in said.items()}
        present = self._region.split()
        wanted = plan(standing, serves, present)
        # routes first: a promotion or a rollback is a change of weights, and must not wait for the object store
        if present != wanted.split:
            self._guard.route(wanted.split)
            log.info("traffic: %s", describe(wanted.split))
        for slot, digest in wanted.pointers.items():
            if serves.get(slot) != digest:
                self._region.point(slot, digest)
        if standing.candidate is None and standing.champion is not None and serves["champion"] == standing.champion:
            self._clear(said["canary"], standing.champion)

    def _clear(self, canary: Readiness, champion: str) -> None:
        """Lead the canary's engine away from what it could not load, so that it tries when that is approved again."""
        if canary.refused is not None or canary.serves is None:
            self._region.point("canary", champion)

    def _step(self, candidate: Place, standing: Standing, now: float) -> bool:
        """Judge the candidate where it is; True when it was moved."""
        policy, known = self._remembered(candidate, standing, now)
        try:
            recheck(self._ledger, self._rules, candidate.source, candidate.digest)
        except NotApproved as error:
            self._ledger.note(candidate.source, candidate.digest, "refused", actor=ACTOR, reason=error.what)
            return self._back(candidate, f"approval: {error.what}", {})
        if known.champion != (standing.champion or ""):
            return self._back(candidate, reasons.another_champion(known.champion, standing.champion), {})
        if candidate.state == "approved":
            return self._warm_up(candidate, standing, policy, known, now)
        if candidate.state == "shadow":
            return self._in_the_shadow(candidate, policy, known, now)
        return self._canary(candidate, standing, policy, known, now)

    def _remembered(self, candidate: Place, standing: Standing, now: float) -> tuple[CanaryPolicy, Memory]:
        approved = self._ledger.newest("approved", source=candidate.source, digest=candidate.digest)
        gated = self._ledger.newest("gated", source=candidate.source, digest=candidate.digest)
        name = str(gated.evidence.get("policy", "default")) if gated else "default"
        policy = self._policies(name)
        if approved is not None and approved.evidence.get("emergency"):
            policy = without_waiting(policy)
        known = canary_record.load(self._database, candidate.source, candidate.digest)
        if known is None or (candidate.state == "approved" and approved is not None and known.began_at < approved.at):
            began = datetime.fromtimestamp(now, UTC)
            known = Memory(
                source=candidate.source, digest=candidate.digest, policy=name, champion=standing.champion or "",
                began_at=began if approved is None else max(began, approved.at),
            )  # fmt: skip
            canary_record.save(self._database, known)
        return policy, known

    def _warm_up(self, candidate: Place, standing: Standing, policy: CanaryPolicy, known: Memory, now: float) -> bool:
        """The engines of both arms load their releases; nobody meets the candidate before it answers its probes."""
        if self._frozen(now):
            return False
        if why := self._unsigned(candidate.digest):
            return self._back(candidate, why, {})
        said = self._region.readiness()
        if said["canary"].refused == candidate.digest:
            return self._back(candidate, f"warm_up: the engine refuses it: {said['canary'].reason}", {})
        last = self._ledger.newest("champion")
        if said["canary"].serves == candidate.digest:
            if last is None or last.source != candidate.source:
                why = reasons.without_canary(candidate.source, last.source if last else None)
                return self._move(candidate, "champion", why, {"ready": True})
            if said["control"].serves == standing.champion == said["champion"].serves:
                why = f"the canary's engine has {candidate.digest[:12]}, that of the control {known.champion[:12]}"
                return self._move(candidate, "shadow", why, {"ready": True})
        self.doing = "warming up"
        spent = now - known.began_at.timestamp()
        if spent > policy.warm_up_s:
            lacking = reasons.not_ready(said, candidate.digest, standing.champion)
            return self._back(candidate, f"warm_up: not ready after {spent:.0f} s: {lacking}", {})
        return False

    def _in_the_shadow(self, candidate: Place, policy: CanaryPolicy, known: Memory, now: float) -> bool:
        entered = self._entered(candidate, "shadow")
        rules, spent = policy.shadow, now - entered
        found = self._watching.shadow_of(known, entered).compare(newest=rules.minimum_questions, now=now)
        wrong, late = find_shadow_problem(rules, found), spent > rules.maximum_s
        self.doing = reasons.in_the_shadow(rules, found, wrong)
        if wrong is not None and (late or found.seen >= rules.chances * rules.minimum_questions):
            return self._back(candidate, wrong, found.evidence())
        if wrong is None and found.asked >= rules.minimum_questions and spent >= rules.minimum_s:
            if self._frozen(now):
                return False
            return self._move(candidate, "canary_1", f"{found.answered} answers compared", found.evidence())
        if late:
            why = f"only {found.asked} of {rules.minimum_questions} questions within {rules.maximum_s:.0f} s"
            return self._back(candidate, why, found.evidence())
        return False

    def _canary(self, candidate: Place, standing: Standing, policy: CanaryPolicy, known: Memory, now: float) -> bool:
        decided = self._guard.taken or known
        if decided.canary is not None and decided.canary.final in AWAY:  # and it did not come into the ledger then
            return self._away(candidate, standing, decided)
        state = known.canary or begin(policy, release=candidate.digest, at=now)
        if state.policy != policy.digest:
            return self._back(candidate, reasons.policy_changed(state.policy, policy.digest), {})
        reader = self._watching.canary_of(known, self._entered(candidate, "canary_1"))
        self._guard.watch(policy, replace(known, canary=state), standing, reader)
        found = self._guard.read(reader, policy, now)
        while state.step < STEPS.index(candidate.state):  # moved, and killed before it was remembered
            state = advance(policy, state, found, at=now)
        said = self._region.readiness()["canary"]
        if said.refused == candidate.digest:
            return self._back(candidate, f"errors: the engine refuses it: {said.reason}", {})
        state, verdict = judge(policy, state, found, now=now)
        self.doing = told(candidate.state, verdict)
        held = self._frozen(now)
        evidence, known = verdict.as_kept(), kept(known, state, verdict, self.doing, now)
        if verdict.decision in AWAY:
            return self._away(candidate, standing, known)
        if verdict.decision is Decision.PROMOTE and not held and (why := self._unsigned(candidate.digest)):
            return self._back(candidate, why, evidence)
        canary_record.save(self._database, known)
        if self._guard.taken is not None:  # harm showed while that hung
            return self._away(candidate, standing, self._guard.taken)
        if held:
            return False
        if verdict.decision is Decision.ADVANCE:
            moved = self._move(candidate, STEPS[state.step + 1], "; ".join(verdict.reasons), evidence)
            canary_record.save(self._database, replace(known, canary=advance(policy, state, found, at=now)))
            return moved
        if verdict.decision is Decision.PROMOTE:
            moved = self._move(candidate, "champion", "; ".join(verdict.reasons), evidence)
            if self._guard.taken is not None:  # harm showed while that hung
                self._uncrown(candidate, standing, self._guard.taken)
            return moved
        if verdict.overdue:
            late = f"after {now - state.step_started:.0f} s in this step there is no verdict"
            return self._back(candidate, f"{late}: {'; '.join(verdict.reasons)}", evidence)
        return False

    def _unsigned(self, digest: str) -> str | None:
        """Why nobody may be shown this release, or None."""
        try:
            self._region.signed(digest)
        except StoreUnavailable:
            raise
        except ArtifactError as error:
            return f"signature: {error.what}"
        return None

    def _frozen(self, now: float) -> bool:
        held = frozen(self._ledger, now=datetime.fromtimestamp(now, UTC))
        if held is not None:
            self.doing = f"frozen by {held.actor}: {held.reason}"
        return held is not None

    def guard(self) -> None:
        """The database is gone: go on judging a running canary, and take its shoppers away when it does harm.

        May be called while `tick` waits for a database that hangs.
        """
        self._guard.look()

    def _away(self, candidate: Place, standing: Standing, known: Memory) -> bool:
        """Shoppers first: a database that takes no writes must not keep them there."""
        self._guard.take(known, standing)
        canary_record.save(self._database, known)
        why, evidence = for_ledger(known)
        return self._back(candidate, why, evidence)

    def _uncrown(self, candidate: Place, standing: Standing, known: Memory) -> None:
        """The champion before serves again, as after a person's rollback."""
        if standing.champion is None or self._ledger.state(candidate.source, candidate.digest) != "champion":
            return
        why, evidence = for_ledger(known)
        self._ledger.move(
            candidate.source, standing.champion, to="champion", expected="retired", former="rolled_back", actor=ACTOR,
            reason=why[:2000], evidence={**evidence, "rollback": True, "from": candidate.digest},
        )  # fmt: skip

    def _entered(self, candidate: Place, state: State) -> float:
        move = self._ledger.newest(state, source=candidate.source, digest=candidate.digest)
        return move.at.timestamp() if move else self._clock()

    def _back(self, candidate: Place, why: str, evidence: dict[str, Any]) -> bool:
        return self._move(candidate, "rolled_back", why, evidence)

    def _move(self, candidate: Place, to: State, why: str, evidence: dict[str, Any]) -> bool:
        try:
            self._ledger.move(
                candidate.source, candidate.digest, to=to, expected=candidate.state, actor=ACTOR, reason=why[:2000],
                evidence=evidence, now=datetime.fromtimestamp(self._clock(), UTC),
            )  # fmt: skip
        except Conflict as error:
            log.info("somebody else moved it: %s", error)
        log.info("%s %s -> %s: %s", candidate.digest[:12], candidate.state, to, why)
        return True
