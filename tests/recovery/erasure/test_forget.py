"""One shopper erased: gone from lake, store and logs, and from the restore of a snapshot that was taken before."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import time
import uuid
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import redis

from artifacts.lake import DATA, Lake
from artifacts.object_store import ObjectStore
from caravan.stack.machine import EmbeddedMachine
from contracts.settings import Settings
from feature_repo.store import materialize
from feature_repo.tables import build
from ingestion.landing.event_log import collect
from ingestion.pseudonymize import Pseudonymizer
from recovery.restore.options import RestoreOptions
from recovery.restore.recovery_point import Point
from recovery.restore.restore import restore
from recovery.snapshots.create import create
from recovery.vault.vault import Vault
from serving.edge.arm_assignment import SHOPPER_HEADER
from serving.reach import as_shop
from tests.conftest import REPOSITORY
from tests.feature_repo.builders import encode
from tests.feature_repo.builders import publish as lay
from tests.scenarios.lost_region import Shop, asked, serves
from tests.serving import tiny_release

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.timeout(1800)]


def traces(s: Settings, clear: str) -> dict[str, list[str]]:
    """Where a region names a shopper, in the clear or by pseudonym: objects, keys of the online store, files."""
    name = Pseudonymizer(s.secret("pseudonym_key")).hash(clear)
    pattern = re.compile(rb"(?:%s)(?![0-9])" % b"|".join([name.encode(), clear.encode()]))
    found: dict[str, list[str]] = {"objects": [], "online": [], "files": []}
    for bucket in (s.bucket, s.mlflow_bucket):
        store = ObjectStore.of(s, bucket)
        for stored in list(store.list("")):
            data = store.get(stored.key)
            if data[:4] == b"PAR1":
                data = str(pq.read_table(io.BytesIO(data)).to_pylist()).encode()
            if pattern.search(data) or pattern.search(stored.key.encode()):
                found["objects"].append(f"{bucket}/{stored.key}")
    host, port = s.redis_address
    with closing(redis.Redis(host=host, port=port, password=s.secret("redis_password"))) as client:
        found["online"] = [
            str(key) for key in client.scan_iter() if pattern.search(key) or pattern.search(client.dump(key) or b"")
        ]
    passed_over = [s.paths.home / folder for folder in ("seaweedfs", "postgres")]
    for path in sorted([*s.paths.home.rglob("*"), *(s.home / "logs").rglob("*")]):
        if not path.is_file() or any(path.is_relative_to(folder) for folder in passed_over):
            continue
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            continue
        if data[:4] == b"PAR1":
            data = str(pq.read_table(io.BytesIO(data)).to_pylist()).encode()
        if pattern.search(data):
            found["files"].append(str(path.relative_to(s.home)))
    return {kind: names for kind, names in found.items() if names}


def caravan(s: Settings, *arguments: str) -> Any:
    """What `caravan` prints as JSON."""
    environment = {**os.environ, "CARAVAN_HOME": str(s.home), "CARAVAN_PORT_OFFSET": str(s.port_offset)}
    done = subprocess.run(
        [sys.executable, "-c", "from caravan.cli.main import main; main()", *arguments],
        env=environment, capture_output=True, text=True, check=False, cwd=REPOSITORY,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def with_history(s: Settings, shop: Shop, *shoppers: str) -> None:
    """Yesterday again, with these shoppers in it: events, feature tables, online features."""
    lake, name = Lake.of(s, shop.source), Pseudonymizer(s.secret("pseudonym_key")).hash
    (day,) = lake.partitions("events")
    rows = pq.read_table(lake.fetch("events", day) / DATA).to_pylist()
    for user in shoppers:
        more = [{**row, "event_id": uuid.uuid4().hex, "user_id": name(user)} for row in rows[:4]]
        lay(lake, "events", day, rows + more)  # each a partition that the next one replaces
        rows += more
    build(lake, day, encode=encode)
    materialize(s, shop.source, day)


def test_one_shopper_is_gone_here_and_from_a_restore(two_regions: Settings, tmp_path: Path) -> None:
    s, standby = two_regions, two_regions.of_region("standby")
    # of this test alone: who is erased here must not act in another test of the same stack
    gone, stays = f"gone-{uuid.uuid4().hex[:8]}", f"stays-{uuid.uuid4().hex[:8]}"
    shop = Shop(s)
    shop.prepare()
    with_history(s, shop, gone, stays)
    shop.act(20)
    asked(s, 80)
    with as_shop(s, timeout=10) as client:  # a shop whose servers send their own identifier
        for user in (gone, stays):
            event = {
                "event_id": uuid.uuid4().hex, "event_time": datetime.now(UTC).isoformat(), "kind": "view",
                "user_id": user, "session_id": f"session of {user}", "item_id": tiny_release.item_id(1),
            }  # fmt: skip
            assert client.post("/events", json={"events": [event]}, headers={SHOPPER_HEADER: user}).is_success
            assert client.post("/recommend", json={"user_id": user}, headers={SHOPPER_HEADER: user}).is_success
    lake = Lake.of(s, shop.source)
    # Envoy writes its log every ten seconds, engines what they showed, and the event in the online store; what comes
    # after the shopper is forgotten would stay, and none of them says that it is done
    time.sleep(12)
    assert collect(lake, s.paths.event_log)
    taken = create(s, EmbeddedMachine(s)).snapshot
    before = traces(s, gone)
    assert before.keys() == {"objects", "online", "files"}
    assert any("edge-access.log" in name for name in before["files"])

    assert caravan(s, "forget", gone, "--dry-run", "--json")[0]["found"]["event log"] > 0
    assert traces(s, gone).keys() == before.keys()
    (kept,) = caravan(s, "export", gone, "--region", "primary", "--out", str(tmp_path / "gone"), "--json")["regions"]
    assert kept["unreached"] == {}
    assert kept["rows"].keys() == caravan(s, "forget", gone, "--dry-run", "--json")[0]["found"].keys()
    assert kept["rows"]["online store"] == 1
    entries = len(list(Vault.of(s).store.list("erasures/")))
    reports = caravan(s, "forget", gone, "--reason", "ticket 7", "--yes", "--json")
    assert all(report["finished"] for report in reports)
    assert reports[0]["removed"]["event log"] > 0
    assert traces(s, gone) == {}
    assert traces(s, stays).keys() == {"objects", "online", "files"}
    # nobody has asked meanwhile: what is shown is logged as well, a moment later
    assert {report.status for report in collect(lake, s.paths.event_log)} == {"known"}
    assert traces(s, gone) == {}
    assert serves(s) == shop.digest
    again = caravan(s, "forget", gone, "--reason", "ticket 7", "--yes", "--json")
    assert not any(number for report in again for number in report["found"].values())
    assert len(list(Vault.of(s).store.list("erasures/"))) == entries + 2
    assert create(s, EmbeddedMachine(s)).snapshot.sequence > taken.sequence, "what is left is closed"

    done = restore(
        standby, EmbeddedMachine(standby), Point.parse(taken.id), RestoreOptions(reason="a test", although_alive=True)
    )
    assert re.search(r"shoppers erased again, [1-9]", done.steps["erasures"]["said"])
    assert traces(standby, gone) == {}
    assert traces(standby, stays).keys() == {"objects", "online", "files"}
    assert serves(standby) == shop.digest
