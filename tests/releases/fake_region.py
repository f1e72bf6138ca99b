"""A region in a folder: engines that serve what they are pointed at, an edge that is a file, logs that tests write.

Everything is on disk, so a controller that is killed finds it again, as it would find a real one.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import DBAPIError

from artifacts.database import migrate
from artifacts.ledger import Ledger
from contracts.errors import Tampered
from contracts.region import SLOTS
from contracts.release import CANARY_SHARE
from contracts.settings import Settings
from monitoring.canary_policy import CanaryPolicy, CanaryStep, ShadowPolicy
from releases import registration
from releases.approval.approval import ApprovalAnswer, Rules, answer
from releases.rollout.controller import Controller
from releases.rollout.region import EngineReadiness
from serving.edge import edge
from serving.edge.edge import TrafficSplit
from serving.events.ingest import format_time
from tests.fakes import GATE

RULES = Rules(reviewers=frozenset({"admin", "reviewer"}))
ITEMS = frozenset({"i-1", "i-2"})
#: Steps that a handful of shoppers pass.
QUICK = CanaryPolicy(
    steps=tuple(
        CanaryStep(share=share, minimum_shoppers=2, minimum_s=0, maximum_s=900) for share in CANARY_SHARE.values()
    ),
    shadow=ShadowPolicy(minimum_questions=10, minimum_s=0, maximum_s=600),
    warm_up_s=60,
)


@contextmanager
def own_database(s: Settings, name: str) -> Iterator[Engine]:
    """A database that no other controller looks at."""
    admin = create_engine(s.database_url("caravan"), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine = create_engine(s.database_url(name))
    migrate(engine)
    try:
        yield engine
    finally:
        engine.dispose()
        drop_database(admin, name)
        admin.dispose()


def drop_database(admin: Engine, name: str) -> None:
    """Drop it, also when the server's own vacuum, which we may not end, is just in it."""
    for attempt in range(20):
        try:
            with admin.connect() as connection:
                connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
            return
        except DBAPIError:
            if attempt == 19:
                raise
            time.sleep(0.5)


class Clock:
    """The present time, and what was added to it: nothing has to wait."""

    def __init__(self) -> None:
        self._ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self._ahead

    def forward(self, seconds: float) -> None:
        self._ahead += seconds


@dataclass
class FolderRegion:
    """What the controller touches, below one folder."""

    folder: Path
    s: Settings
    refuses: set[str] = field(default_factory=set)
    unready: set[str] = field(default_factory=set)
    unsigned: set[str] = field(default_factory=set)
    routed: list[TrafficSplit] = field(default_factory=list)
    clock: Clock = field(default_factory=Clock)

    def readiness(self) -> Mapping[str, EngineReadiness]:
        found = {}
        for slot in SLOTS:
            digest = self.pointer(slot)
            if digest in self.refuses:
                found[slot] = EngineReadiness(refused=digest, reason="it is broken")
            else:
                found[slot] = EngineReadiness(serves=None if slot in self.unready else digest)
        return found

    def pointer(self, slot: str) -> str | None:
        path = self.folder / f"{slot}.pointer"
        return path.read_text() if path.exists() else None

    def split(self) -> TrafficSplit | None:
        return edge.read_split(self.folder)

    def route(self, split: TrafficSplit) -> None:
        edge.write_routes(self.folder, split, self.s)
        self.routed.append(split)

    def point(self, slot: str, digest: str) -> None:
        part = self.folder / f"{slot}.part"
        part.write_text(digest)
        part.replace(self.folder / f"{slot}.pointer")

    def signed(self, digest: str) -> None:
        if digest in self.unsigned:
            raise Tampered(f"{digest[:12]} is not signed", remedy="sign it")

    def catalog(self, source: str, champion: str) -> frozenset[str] | None:
        return ITEMS

    @property
    def access_log(self) -> Path:
        return self.folder / "access.log"

    @property
    def answer_log(self) -> Path:
        return self.folder / "answers"

    def controller(self, ledger: Ledger, engine: Engine, policy: CanaryPolicy = QUICK) -> Controller:
        return Controller(
            self.s, ledger, engine, self, access_log=self.access_log, answer_log=self.answer_log,
            policies=lambda _name: policy, clock=self.clock,
        )  # fmt: skip

    def met(
        self, arm: str, release: str, shoppers: int, *, code: int = 200, first: int = 0, clicks: bool = True,
        **answered: object,
    ) -> None:  # fmt: skip
        """`shoppers` met an arm: a line of the edge and one of the engine for each, and what they did then."""
        now = self.clock()
        access, answers = [], []
        for number in range(first, first + shoppers):
            shopper, request = f"{arm}-{number}", f"{arm}-{number}-{now}"
            access.append(
                {"time": format_time(datetime.fromtimestamp(now, UTC)), "request_id": request, "shopper": shopper,
                 "arm": arm, "release": release if code == 200 else None, "method": "POST", "path": "/recommend",
                 "code": code, "flags": "-", "duration_ms": 5}
            )  # fmt: skip
            about = {
                "t": now + 0.01,
                "id": request,
                "shopper": shopper,
                "arm": arm,
                "shadow": False,
                "release": release,
            }
            if code == 200:
                line = {**about, "kind": "recommend", "items": ["i-1"], "fallback": None, "stale": False, "ms": 3.0}
                answers.append({**line, **answered})
                if clicks:
                    answers.append(
                        {**about, "kind": "events", "actions": {"click": 1, "add_to_cart": 1, "purchase": 1}}
                    )
        self.tell(access, answers)

    def asked_in_the_shadow(
        self, champion: str, shadow: str, *, items: tuple[str, ...] = ("i-1",), count: int = 30
    ) -> None:
        """Questions that champion and shadow both answered; three seconds pass."""
        now = self.clock()
        answers = []
        for number in range(count):
            about = {"t": now, "id": f"q-{number}-{now}", "kind": "recommend", "shopper": "s", "arm": "rest",
                     "fallback": None, "stale": False, "ms": 3.0}  # fmt: skip
            answers.append({**about, "shadow": False, "release": champion, "items": ["i-1"]})
            answers.append({**about, "shadow": True, "release": shadow, "items": list(items)})
        self.tell([], answers)
        self.clock.forward(3)

    def tell(self, access: list[dict[str, object]], answers: list[dict[str, object]]) -> None:
        folder = self.answer_log / "2026-01-01"
        folder.mkdir(parents=True, exist_ok=True)
        for path, lines in ((self.access_log, access), (folder / "engine-000000.jsonl", answers)):
            with path.open("a") as file:
                file.write("".join(json.dumps(line) + "\n" for line in lines))
            os.utime(path, (self.clock(), self.clock()))


def gated(ledger: Ledger, source: str, digest: str, *, author: str = "nightly") -> str:
    version = 1 + len(ledger.releases(source))
    registration.gated(ledger, source, digest, version=version, evidence={}, decision=GATE, author=author)
    return digest


def approved(ledger: Ledger, source: str, digest: str, person: str = "reviewer") -> str:
    gated(ledger, source, digest)
    given = ApprovalAnswer(
        source=source, digest=digest, named=digest, person=person, door="command line", approves=True, reason="good"
    )
    answer(ledger, RULES, given)
    return digest
