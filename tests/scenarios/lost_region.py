"""A primary region with a shop that serves, and its loss: every process killed, its disk gone."""

from __future__ import annotations

import json
import shutil
import tempfile
import threading
import time
import uuid
import xmlrpc.client
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psutil
from mlflow.exceptions import MlflowException

from artifacts.lake import Lake
from artifacts.ledger import Ledger
from artifacts.object_store import ObjectStore
from artifacts.publish import publish
from artifacts.registry import Registry, mlflow_client
from artifacts.signature import sign
from caravan.stack.supervision import supervisor
from contracts.errors import CaravanError
from contracts.settings import Settings
from feature_repo.store import materialize
from feature_repo.tables import build
from ingestion.pseudonymize import Pseudonymizer
from recovery.drills.probe_queries import answer_of, ask_in_parallel
from releases import registration
from releases.approval.approval import ApprovalAnswer, Rules, answer
from releases.model import registered
from serving.reach import as_shop, shop_headers
from tests.fakes import GATE
from tests.feature_repo.builders import encode, filled
from tests.releases.own_ledger import let_serve
from tests.serving import tiny_release
from tests.waiting import until

ITEMS, SHOPPERS = 60, 40
#: Seconds in which an event must be accepted.
PATIENCE = 60.0
Answered = list[tuple[str, tuple[str, ...]]]


def users() -> list[str]:
    return [f"shopper-{number}" for number in range(SHOPPERS)]


@dataclass
class Shop:
    """A shop of its own in the primary region."""

    s: Settings
    source: str = field(default_factory=lambda: f"shop-{uuid.uuid4().hex[:8]}")
    digest: str = ""

    def prepare(self) -> None:
        """Feature tables, online features, a registered and signed champion that serves."""
        self._features()
        client, store = mlflow_client(self.s), ObjectStore.of(self.s)
        experiment = client.create_experiment(f"recommender-{self.source}")
        run = client.create_run(experiment).info.run_id
        with tempfile.TemporaryDirectory() as folder:
            bundle = tiny_release.build(Path(folder), ITEMS)
            meta = {"source": self.source, "run_id": run}
            self.digest = publish(store, bundle, kind="release", meta=meta).digest
        sign(store, self.digest, self.s)
        client.set_terminated(run)
        version = registered.register(Registry(client), store, self.source, self.digest, tags={})
        Registry(client).set_alias(self.source, "challenger", version)
        ledger = Ledger.of(self.s)
        registration.gated(
            ledger, self.source, self.digest, version=version, evidence={}, decision=GATE, author="admin"
        )
        given = ApprovalAnswer(
            source=self.source, digest=self.digest, named=self.digest[:12], person="reviewer", door="command line",
            approves=True, reason="a test",
        )  # fmt: skip
        let_serve(ledger, self.source)
        answer(ledger, Rules.of(self.s), given)
        until(
            lambda: serves(self.s) == self.digest,
            180,
            every=0.2,
            otherwise=lambda: f"{self.digest[:12]} is {ledger.state(self.source, self.digest)}",
        )

    def _features(self) -> None:
        hashed, yesterday = Pseudonymizer(self.s.secret("pseudonym_key")), datetime.now(UTC) - timedelta(days=1)
        start = yesterday.replace(hour=0, minute=0, second=0, microsecond=0)
        rows = [
            {
                "event_id": f"{self.source}-{n}-{m}", "event_time": start + timedelta(minutes=7 * n + m),
                "user_id": hashed.hash(user), "kind": "view", "item_id": tiny_release.item_id((n * 3 + m * 5) % ITEMS),
            }
            for n, user in enumerate(users()[: SHOPPERS // 2]) for m in range(4)
        ]  # fmt: skip
        day = start.date().isoformat()
        catalog = [
            {"item_id": tiny_release.item_id(n), "title": f"Product {n}", "available": True} for n in range(ITEMS)
        ]
        lake = filled(Lake.of(self.s, self.source), {day: rows}, catalog)
        build(lake, day, encode=encode)
        materialize(self.s, self.source, day)

    def act(self, count: int) -> None:
        """Shoppers view items; every event is acknowledged."""
        with as_shop(self.s, timeout=10) as client:
            for number in range(count):
                deadline = time.monotonic() + PATIENCE
                # a starved region may take no writes for a moment: what was not acknowledged does not count
                while (answered := self._view(client, number)).status_code != 200:
                    assert time.monotonic() < deadline, answered.text
                    time.sleep(0.2)
                assert answered.json()["accepted"] == 1, answered.text

    def _view(self, client: httpx.Client, number: int) -> httpx.Response:
        event = {
            "event_id": uuid.uuid4().hex, "event_time": datetime.now(UTC).isoformat(), "kind": "view",
            "user_id": users()[number * 7 % SHOPPERS], "item_id": tiny_release.item_id(number * 11 % ITEMS),
        }  # fmt: skip
        return client.post("/events", json={"events": [event]})


@contextmanager
def meanwhile(step: Callable[[], None], every: float) -> Iterator[None]:
    """`step` again and again in a thread, `every` so many seconds, until the block ends; raises what it raised."""
    stop = threading.Event()

    def go_on() -> None:
        while not stop.wait(every):
            step()

    with ThreadPoolExecutor(1) as pool:
        busy = pool.submit(go_on)
        try:
            yield
        finally:
            stop.set()
        busy.result()


def acting(shop: Shop) -> AbstractContextManager[None]:
    """Shoppers go on viewing items until the block ends; every event is acknowledged."""
    return meanwhile(lambda: shop.act(1), every=0.05)


def serves(s: Settings, address: str = "") -> str | None:
    """The release that answers at the region's edge, or at `address`."""
    try:
        with as_shop(s, address, timeout=5) as client:
            found = client.post("/recommend", json={"user_id": "anna"})
        return str(found.json().get("release"))
    except (httpx.HTTPError, ValueError):
        return None


def logged(s: Settings) -> set[str]:
    """Ids in a region's event log; lines of an erased shopper are blanks."""
    found = set()
    for path in s.paths.event_log.glob("*/*.jsonl"):
        found |= {json.loads(line)["event_id"] for line in path.read_text().splitlines() if line.strip()}
    return found


def asked(s: Settings, count: int) -> Answered:
    """Release and items of each of `count` recorded requests, in order; a stand-in's question is asked again."""

    def ask(client: httpx.Client, number: int) -> tuple[str, tuple[str, ...]]:
        body = {"user_id": users()[number % SHOPPERS], "k": 5 + number // SHOPPERS % 10}
        content = answer_of(lambda: client.post("/recommend", json=body))
        return content["release"], tuple(item["item_id"] for item in content["items"])

    return ask_in_parallel(ask, count, s.edge_address, headers=shop_headers(s))


def settled(s: Settings, count: int) -> Answered:
    """What is `asked`, once it is answered alike twice: the last events are pushed a moment after they were taken."""
    found = asked(s, count)
    for _ in range(5):
        again, found = found, asked(s, count)
        if again == found:
            break
    return found


@contextmanager
def writing(s: Settings) -> Iterator[list[tuple[float, int]]]:
    """Acknowledged writes, several a second, until the block ends: (when, sequence in the ledger)."""
    acknowledged: list[tuple[float, int]] = []
    stop, ledger = threading.Event(), Ledger.of(s)

    def write() -> None:
        while not stop.wait(0.1):
            try:
                move = ledger.note("", "", "asked", actor="test", reason="a row that must not be lost")
                acknowledged.append((time.time(), move.sequence))
            except CaravanError:
                return
            except Exception:
                return  # the database was killed in the middle of it

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield acknowledged
    finally:
        stop.set()
        thread.join()


def lose(s: Settings) -> float:
    """Kill every process of the region with SIGKILL and remove its disk; when."""
    home = s.paths.home
    (supervisor.run_folder(s) / f"group-{s.region}.conf").unlink()  # or supervisor would start them again
    at = time.time()
    _kill(s)
    while True:
        try:
            supervisor.reload(s)
            break
        except xmlrpc.client.Fault:  # it is just starting one of them again
            _kill(s)
            time.sleep(0.2)
    shutil.rmtree(home, ignore_errors=True)
    shutil.rmtree(home, ignore_errors=True)
    return at


def _kill(s: Settings) -> None:
    known = supervisor.processes(s).values()
    for root in [about["pid"] for about in known if about["group"] == s.region and about["pid"]]:
        with suppress(psutil.NoSuchProcess):
            for process in (*psutil.Process(root).children(recursive=True), psutil.Process(root)):
                with suppress(psutil.NoSuchProcess):
                    process.kill()


def resolved(s: Settings, source: str) -> dict[str, Any]:
    """Digest per alias and version, as the region's registry has them."""
    registry = Registry.of(s)
    found: dict[str, Any] = {f"v{v.number}": v.digest for v in registry.versions(source)}
    for alias in ("challenger", "champion"):
        version = registry.alias(source, alias)
        found[alias] = version.digest if version else None
    return found


def model_answers(s: Settings, source: str) -> str:
    """What is wrong with the champion as a model of the region's MLflow; empty if it answers."""
    try:
        answer = registered.load(s, source).predict([{"history": [tiny_release.item_id(0)]}])
    except (CaravanError, MlflowException) as error:
        return f"the champion cannot be loaded from MLflow: {error}"
    return "" if answer["items"][0] else "the champion, loaded from MLflow, answers with nothing"
