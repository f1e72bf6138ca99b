"""A running shop that cases ask: the stack that is up, or one of its own; landed and released once."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from artifacts.lake import Lake
from artifacts.ledger import Ledger
from caravan.cli.airflow_api import Airflow
from contracts.region_paths import ACCESS_LOG
from contracts.settings import Settings, read_settings
from serving import reach
from tests.cases import probe_shop
from tests.cases.case import Given
from tests.conftest import REPOSITORY, free_offset
from tests.waiting import until

#: Seconds that a command may take, a night among them.
PATIENCE = 1_500
ORIGIN = "https://shop.example"
SHOP = "probe"


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def report(self) -> dict[str, Any]:
        """The JSON that it printed; empty where it printed none."""
        begin = self.out.find("{")
        return dict(json.loads(self.out[begin:])) if begin >= 0 else {}

    @property
    def said(self) -> str:
        """Everything that it said, in one line."""
        return " ".join(f"{self.out} {self.err}".split())


@dataclass
class RunningShop:
    """Asks a running stack as a person, as the shop's server, and as nobody."""

    s: Settings
    day: str
    planted: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.shop = reach.as_shop(self.s, timeout=30)
        self.nobody = httpx.Client(base_url=self.s.edge_address, timeout=30, trust_env=False)

    def caravan(self, *arguments: str) -> Ended:
        """Run a command of `caravan` against this stack."""
        own = os.environ | environment(self.s)
        command = [str(Path(sys.executable).with_name("caravan")), *arguments]
        done = subprocess.run(
            command, cwd=REPOSITORY, env=own, capture_output=True, text=True, check=False, timeout=PATIENCE
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    def ingest(self, source: str, *arguments: str | Path) -> Ended:
        """Land files under a name."""
        return self.caravan("ingest", "--shop", source, "--json", *map(str, arguments))

    def validate(self, source: str, day: str, *arguments: str) -> Ended:
        """Validate a day of a shop."""
        return self.caravan("validate", day, "--source", source, "--json", *arguments)

    def send(self, events: list[dict[str, Any]]) -> dict[str, Any]:
        """Send events as the shop's server; the answer's JSON."""
        answer = self.shop.post("/events", json={"events": events})
        return dict(answer.json())

    def recommend(self, user: str, **more: Any) -> dict[str, Any]:
        """Ask for recommendations as the shop's server."""
        return dict(self.shop.post("/recommend", json={"user_id": user, **more}).json())

    def search(self, query: str, k: int = 5) -> dict[str, Any]:
        """Search as the shop's server."""
        return dict(self.shop.get("/search", params={"q": query, "k": k}).json())

    def access_lines(self, request_ids: set[str]) -> list[dict[str, Any]]:
        """Wait for the access log's lines about some requests."""
        path = self.s.paths.logs / ACCESS_LOG

        def found() -> list[dict[str, Any]] | None:
            lines = [json.loads(text) for text in path.read_text().splitlines()[-500:] if text.endswith("}")]
            ours = [line for line in lines if line["request_id"] in request_ids]
            return ours if len(ours) >= len(request_ids) else None

        return until(found, 20, every=0.2, otherwise="the access log has not all lines")


def environment(s: Settings) -> dict[str, str]:
    """Return what tells a command of Caravan which stack is meant."""
    return {
        "CARAVAN_HOME": str(s.home), "CARAVAN_PORT_OFFSET": str(s.port_offset), "CARAVAN_SHOP": s.shop,
        "CARAVAN_ALLOWED_ORIGINS": s.allowed_origins,
        "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'plugins'}",
    }  # fmt: skip


@contextmanager
def running_shop(given: Given, say: Any) -> Iterator[RunningShop]:
    """Give the shop of a stack that is up, or of one that is started and taken away again."""
    if os.environ.get("CARAVAN_HOME"):
        s = read_settings()
        yield _released(s, given, say)
        return
    from caravan.stack import down, up

    home = Path(tempfile.mkdtemp(prefix="caravan-cases-"))
    home.chmod(0o711)  # PostgreSQL may run as another user, who has to reach its data
    s = read_settings(home=home, port_offset=free_offset(), shop=SHOP, allowed_origins=ORIGIN)
    os.environ.update(environment(s))  # services and tasks read the same
    say(f"starting a stack in {home}")
    try:
        s = up(s, regions=("primary",), control=True)
        yield _released(s, given, say)
    finally:
        down(s)
        shutil.rmtree(home, ignore_errors=True)


def _released(s: Settings, given: Given, say: Any) -> RunningShop:
    """Land the shop and run one night, unless this stack serves it already."""
    mark = s.home / "cases.json"
    if mark.exists():
        known = json.loads(mark.read_text())
        return RunningShop(s, known["day"], known["planted"])
    if Ledger.of(s).newest("champion") is not None:
        sys.exit(f"the stack in {s.home} serves a shop already: name a new one in CARAVAN_HOME, or none")
    day, names = str(given.day(1)), probe_shop.like_pseudonyms(given)
    shop = RunningShop(s, day, {"pseudonyms": names})
    rows = probe_shop.events(given) + probe_shop.nobodys(given, 240) + probe_shop.rows_of(given, names, 10)
    catalog = probe_shop.write_catalog(given.folder / "catalog.csv")
    landed = shop.ingest(s.shop, "--catalog", catalog, probe_shop.write_events(given.folder / "events.jsonl", rows))
    say(f"landed {len(rows)} rows: exit {landed.code}")
    Airflow.of(s).ensure_ready("nightly")
    began = time.monotonic()
    night = shop.caravan("nightly", "--source", s.shop, "--day", day, "--recipe", "tiny")
    say(f"a night of {day}: exit {night.code} in {time.monotonic() - began:.0f} s")
    if night.code:
        sys.exit(f"the night did not end as it should: {night.said[-2000:]}")
    until(lambda: reach.get(s.engine_address, "/readyz").json().get("ready"), 180, every=1, otherwise="no release")
    mark.write_text(json.dumps({"day": day, "planted": shop.planted}))
    return shop


def partitions(s: Settings, source: str, table: str) -> list[str]:
    """Return the days that a table of a shop has."""
    return list(Lake.of(s, source).partitions(table))
