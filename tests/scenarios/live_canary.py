"""A running region with tiny releases and replayed shoppers: what a canary meets, in seconds instead of days."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx

from artifacts.database import engine as region_database
from artifacts.ledger import Ledger
from artifacts.object_store import ObjectStore
from artifacts.publish import publish
from artifacts.signature import sign
from caravan.stack.supervision import supervisor
from contracts.region import SLOTS
from contracts.release import IN_FLIGHT, State
from contracts.settings import Settings
from monitoring.canary_policy import CanaryPolicy, CanaryStep, ShadowPolicy
from monitoring.guardrails import GUARDRAILS
from releases import registration
from releases.approval.approval import ApprovalAnswer, Rules, answer
from releases.rollout.controller import Controller
from releases.rollout.region import LiveRegion
from serving import reach
from serving.edge import edge
from serving.replay.open_loop import run_replay
from serving.replay.plan import ReplayPlan
from serving.replay.report import ReplayReport
from serving.replay.sessions import Session, Step
from tests.conftest import REPOSITORY
from tests.fakes import GATE
from tests.releases.own_ledger import let_serve, move_release
from tests.serving import tiny_release
from tests.serving.live import free_port
from tests.waiting import until

#: Lines of guardrails that have few events in some seconds, or many on a busy machine.
WIDE = {"carts": 0.2, "purchases": 0.2, "over_budget": 0.15, "timeouts": 0.15, "fallbacks": 0.15}
#: The default guardrails, with lines that some hundred shoppers can prove, and steps that last as long as it takes
#: their shoppers to come.
POLICY = CanaryPolicy(
    guardrails=tuple(
        replace(g, follow_up_s=min(g.follow_up_s, 1.0), ratio=2.0,
                delta=WIDE.get(g.name, 4 * g.delta))
        for g in GUARDRAILS
    ),
    steps=tuple(CanaryStep(share=share, minimum_shoppers=few, minimum_s=0, maximum_s=600)
                for share, few in ((1, 1), (5, 5), (25, 30), (50, 100))),
    shadow=ShadowPolicy(minimum_questions=40, minimum_s=1, maximum_s=120),
    warm_up_s=120,
    # a run of the tests sees a dozen canaries, and none should end by chance
    alpha=0.002,
    mismatch_alpha=1e-6,
)  # fmt: skip
ITEMS, ROOMS = 60, 5


def crowd(count: int, steps: int = 2) -> list[Session]:
    """Shoppers who stay in one room of the shop, which every sound release can guess."""
    found = []
    for number in range(count):
        room = number % ROOMS
        items = [
            tiny_release.item_id((number // ROOMS + 7 * n) % (ITEMS // ROOMS) * ROOMS + room) for n in range(steps)
        ]
        found.append(Session(f"s-{uuid.uuid4().hex[:10]}", tuple(Step("view", item) for item in items)))
    return found


@dataclass
class LiveCanary:
    """One shop of its own in the region."""

    s: Settings
    policy: CanaryPolicy = POLICY
    source: str = field(default_factory=lambda: f"shop-{uuid.uuid4().hex[:8]}")
    report: ReplayReport | None = None

    def __post_init__(self) -> None:
        self.ledger = Ledger.of(self.s)
        self.store = ObjectStore.of(self.s)
        self.controller: Controller | None = None

    def release(
        self, *, seed: int = 0, author: str = "admin", signed: bool = True, change: Any = None, **build: Any
    ) -> str:
        """Publish a tiny release that has passed the gate; its digest. `change` may spoil the bundle's folder first."""
        with tempfile.TemporaryDirectory() as folder:
            bundle = tiny_release.build(Path(folder), ITEMS, seed=seed, **build)
            if change is not None:
                change(bundle)
            digest = publish(
                self.store, bundle, kind="release", meta={"source": self.source, "salt": uuid.uuid4().hex}
            ).digest
        if signed:
            sign(self.store, digest, self.s)
        registration.gated(
            self.ledger,
            self.source,
            digest,
            version=1 + len(self.ledger.releases(self.source)),
            evidence={},
            decision=GATE,
            author=author,
        )
        let_serve(self.ledger, self.source)
        return digest

    def approve(self, digest: str) -> None:
        given = ApprovalAnswer(
            source=self.source, digest=digest, named=digest[:12], person="reviewer", door="command line",
            approves=True, reason="a test",
        )  # fmt: skip
        answer(self.ledger, Rules.of(self.s), given)

    def champion(self, **about: Any) -> str:
        """A champion that serves all shoppers."""
        digest = self.release(**about)
        self.approve(digest)
        self.wait(digest, "champion")
        self.await_serving(digest)
        return digest

    def await_serving(self, digest: str, seconds: float = 60.0) -> float:
        """Seconds until the edge answers with `digest`, and its own engine has it."""
        began = time.monotonic()
        while time.monotonic() < began + seconds:
            ready = reach.get(self.s.engine_address, "/readyz").json()["release"] == digest
            split = edge.read_split(self.s.paths.edge)
            if ready and split is not None and split.rest_engine == "champion" and self.asked() == digest:
                return time.monotonic() - began
            time.sleep(0.1)
        raise AssertionError(f"{digest[:12]} does not serve after {seconds} s")

    def asked(self) -> str | None:
        found = httpx.post(
            f"{self.s.edge_address}/recommend", json={"user_id": "anna"}, headers=reach.shop_headers(self.s), timeout=5
        )
        return found.json().get("release")

    def state(self, digest: str) -> State | None:
        return self.ledger.state(self.source, digest)

    def wait(self, digest: str, *states: State, seconds: float = 120.0) -> State:
        deadline = time.monotonic() + seconds
        while (state := self.state(digest)) not in states:
            if time.monotonic() > deadline:
                doing = self.controller.doing if self.controller else ""
                raise AssertionError(f"{state}, not {states}, after {seconds} s: {doing}\n{self.story(digest)}")
            time.sleep(0.05)
        return state

    def story(self, digest: str) -> str:
        return "\n".join(
            f"{m.from_state} -> {m.to_state} {m.actor}: {m.reason}" for m in self.ledger.history(self.source, digest)
        )

    def reason(self, digest: str) -> str:
        return self.ledger.history(self.source, digest)[-1].reason

    @contextmanager
    def controlled(self) -> Iterator[None]:
        """Our own controller, with our own policy, in place of the region's."""
        process = f"{self.s.region}:{self.s.region}-controller"
        supervisor.call(self.s, "stopProcess", process, True)
        region = LiveRegion(self.s)
        self.controller = Controller(
            self.s, self.ledger, region_database(self.s), region, access_log=region.access_log,
            answer_log=self.s.paths.answer_log, policies=lambda _name: self.policy,
        )  # fmt: skip
        stop = threading.Event()
        thread = threading.Thread(target=self._run, args=(stop,))
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            region.close()
            for place in self.ledger.releases(self.source):
                if place.state in IN_FLIGHT:
                    move_release(
                        self.ledger,
                        self.source,
                        place.digest,
                        to="rolled_back",
                        expected=place.state,
                        actor="test",
                        reason="the test is over",
                    )
            supervisor.call(self.s, "startProcess", process, False)

    def _run(self, stop: threading.Event) -> None:
        assert self.controller is not None
        while not stop.wait(0.3):
            self.controller.tick()

    @contextmanager
    def traffic(self, rate: float = 50.0, shoppers: int = 5000, seconds: float = 300.0) -> Iterator[None]:
        """Replayed shoppers, until the block ends."""
        stop = threading.Event()
        plan = ReplayPlan(
            url=self.s.edge_address, key=self.s.shop_key, rate=rate, duration=seconds, shoppers=40, fresh_shoppers=True
        )

        def send() -> None:
            self.report = run_replay(plan, crowd(shoppers), stop=stop)

        thread = threading.Thread(target=send)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    @contextmanager
    def proxies(
        self, *, control: tuple[str, ...] = (), canary: tuple[str, ...] = (), canary_url: str = ""
    ) -> Iterator[None]:
        """Fault proxies between the edge and the engines of the two arms; all requests of both arms pass one."""
        folder = self.s.paths.edge
        addresses = {slot: self.s.engine_address_of(slot) for slot in SLOTS}
        with ExitStack() as stack:
            for slot, options in (("control", control), ("canary", canary)):
                port, target = free_port(), canary_url if slot == "canary" and canary_url else addresses[slot]
                command = [
                    sys.executable,
                    "-m",
                    "tests.faults.fault_proxy",
                    "--target",
                    target,
                    "--port",
                    str(port),
                    *options,
                ]
                process = subprocess.Popen(command, cwd=REPOSITORY)
                stack.callback(process.wait, 10)
                stack.callback(process.terminate)
                addresses[slot] = f"http://127.0.0.1:{port}"
                await_port(addresses[slot])
            edge.write_clusters(folder, addresses)
            time.sleep(2.5)  # Envoy's health checks of the new clusters
            try:
                yield
            finally:
                edge.write_clusters(folder, {slot: self.s.engine_address_of(slot) for slot in SLOTS})


def await_port(url: str, seconds: float = 20.0) -> None:
    def listens() -> bool:
        try:
            httpx.get(f"{url}/healthz", timeout=2)
        except httpx.TransportError:
            return False
        return True

    until(listens, seconds, every=0.1, otherwise=f"{url} does not answer")
