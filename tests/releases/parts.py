"""A release that waits for an answer, on the real ledger and, where it is asked for, in the real registry."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from artifacts.ledger import Ledger, Move
from artifacts.registry import Registry, mlflow_client, model_name
from caravan.stack.supervision import supervisor
from contracts.release import IN_FLIGHT, State
from contracts.settings import Settings
from releases import registration
from releases.approval import approval
from releases.approval.approval import ApprovalAnswer, ApprovalOutcome, Door, Rules
from tests.fakes import GATE
from tests.releases.own_ledger import let_serve, move_release

RULES = Rules(reviewers=frozenset({"reviewer", "admin", "oncall"}))
TWO = Rules(reviewers=RULES.reviewers, required=2)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One gated release of a source of its own."""

    ledger: Ledger
    source: str
    digest: str
    version: int = 1

    @property
    def name(self) -> str:
        return model_name(self.source)

    @property
    def state(self) -> State | None:
        return self.ledger.state(self.source, self.digest)

    def told(self, kind: str) -> list[Move]:
        return [move for move in self.ledger.history(self.source, self.digest) if move.to_state == kind]

    def ask(self, rules: Rules = RULES, now: datetime | None = None) -> Move:
        return approval.ask(self.ledger, rules, self.source, self.digest, actor="nightly", now=now)

    def says(
        self, person: str, *, approves: bool = True, named: str = "", reason: str = "looks right"
    ) -> ApprovalAnswer:
        door: Door = "command line"
        named = named or self.digest[:12]
        return ApprovalAnswer(
            source=self.source, digest=self.digest, named=named, person=person, door=door, approves=approves,
            reason=reason,
        )  # fmt: skip

    def answer(
        self,
        person: str,
        rules: Rules = RULES,
        *,
        approves: bool = True,
        named: str = "",
        reason: str = "looks right",
        now: datetime | None = None,
    ) -> ApprovalOutcome:
        given = self.says(person, approves=approves, named=named, reason=reason)
        return approval.answer(self.ledger, rules, given, now=now)

    def move(self, *road: State) -> None:
        """Take it along a road of states, as the controller would."""
        for to in road:
            move_release(
                self.ledger, self.source, self.digest, to=to, expected=self.state, actor="controller", reason="test"
            )


def gated(s: Settings, *, author: str = "schedule", source: str = "", register: bool = False, version: int = 1) -> Case:
    """A gated release; with `register`, the MLflow version that stands for it too."""
    source, digest = source or f"test-{uuid.uuid4().hex[:8]}", uuid.uuid4().hex + uuid.uuid4().hex
    if register:
        client = mlflow_client(s)
        experiment = client.create_experiment(f"{source}-{digest[:8]}")
        run = client.create_run(experiment).info.run_id
        version = Registry.of(s).register(source, digest, run_id=run, metrics={"ndcg_at_10": 0.2}, tags={})
    ledger = Ledger.of(s)
    registration.gated(
        ledger, source, digest, version=version, evidence={"ndcg_at_10": 0.2}, decision=GATE, author=author
    )
    let_serve(ledger, source)
    case = Case(ledger=ledger, source=source, digest=digest, version=version)
    _made.append(case)
    return case


_made: list[Case] = []


@contextmanager
def alone(s: Settings) -> Iterator[None]:
    """The region's controller rests, so that what is approved here stays where it is; afterwards none is in flight."""
    name = f"{s.region}-controller"
    runs = bool(supervisor.processes(s).get(name, {}).get("pid"))
    if runs:
        supervisor.call(s, "stopProcess", f"{s.region}:{name}", True)
    try:
        yield
    finally:
        for case in _made:
            if case.state in IN_FLIGHT:
                case.move("rejected")
        _made.clear()
        if runs:
            supervisor.call(s, "startProcess", f"{s.region}:{name}", False)
