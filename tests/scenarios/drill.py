"""The drill: a whole primary is lost, and the standby takes over through the real scheduler. `make drill` shows it.

Both regions run with traffic and writes, snapshots are taken, then every process of the primary is killed with SIGKILL
and its disk removed. The on-call engineer presses Trigger on `recover`. The same thousand questions must get the same
answers, and what was lost is counted.
"""

from __future__ import annotations

import json
import sys
import time
import webbrowser
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from artifacts.ledger import Ledger
from artifacts.object_store import ObjectStore
from artifacts.publish import fetch, resolve
from caravan.cli.airflow_api import ENDED, Airflow
from caravan.stack.machine import EmbeddedMachine
from contracts.errors import CaravanError
from contracts.settings import Settings
from recovery.drills.report import Score, write_score
from recovery.region_lease.lease import RegionLease
from recovery.restore.resume import path_of
from recovery.snapshots import retention, verify
from recovery.snapshots.create import create
from recovery.vault.vault import Vault
from tests.scenarios.lost_region import Shop, acting, logged, lose, model_answers, resolved, serves, settled, writing

REQUESTS = 1000
PATIENCE = 900
Tell = Callable[[str, str], None]
#: Is shown the tasks of the recovery each time they are looked at; tests/faults/recover_kill.py kills some.
Meddle = Callable[[Sequence[dict[str, Any]]], None]


def in_peace(_tasks: Sequence[dict[str, Any]]) -> None:
    """Nobody meddles."""


def drill(
    s: Settings,
    oncall: Airflow,
    *,
    tell: Tell = lambda _step, _what: None,
    kind: str = "drill",
    meddle: Meddle = in_peace,
) -> Score:
    """Lose the primary of `s` and recover; the score. Both regions and the control group must run."""
    standby, vault, problems = s.of_region("standby"), Vault.of(s), []
    shop = Shop(s)
    tell("shop", "features, a signed and registered champion, shoppers")
    shop.prepare()
    shop.act(60)
    with acting(shop):
        first = create(s, EmbeddedMachine(s))
        second = create(s, EmbeddedMachine(s))
    tell("snapshots", f"{first.moved / 1e6:.1f} MB in {first.seconds:.1f} s, then {second.moved / 1e6:.3f} MB")
    problems += verify.verify(vault, second.snapshot, s, deep=True).problems
    shop.act(60)  # after the snapshot: only the feed has these
    before, names, events = settled(s, REQUESTS), resolved(s, shop.source), logged(s)
    if {release for release, _ in before} != {shop.digest} or names["champion"] != shop.digest:
        problems.append("the primary did not serve its champion before the fault")
    tell("traffic", f"{REQUESTS} questions recorded, rows are being written")
    time.sleep(10)  # the feed brings what the shoppers did: only what is written from here on may be lost
    with writing(s) as acknowledged:
        time.sleep(8)  # in the middle of writing
        lost_at = lose(s)
    tell("fault", f"every process of {s.region} killed, its disk removed; {len(acknowledged)} rows were acknowledged")

    conf = {"region": "standby", "to": "newest", "reason": "the primary is gone", "although_alive": False}
    run = oncall.trigger("recover", conf, note="a drill")
    first_answer = _watched(oncall, run, standby, shop.digest, tell, meddle) - lost_at
    recovered = time.time() - lost_at
    if (state := oncall.run("recover", run)["state"]) != "success":
        problems.append(f"`recover` ended in the state {state}")
    done = json.loads(path_of(standby).read_text())

    after = settled(standby, REQUESTS)
    ledger = Ledger.of(standby)
    kept = ledger.verify()
    newest = max((at for at, sequence in acknowledged if sequence <= kept), default=0.0)
    if resolved(standby, shop.source) != names:
        problems.append("versions or aliases of the registry are others than before")
    if wrong := model_answers(standby, shop.source):
        problems.append(wrong)
    if retention.proven(vault_of(standby), s)[:1] != [second.snapshot.sequence]:
        problems.append("the snapshot does not count as proven")
    problems += _files(standby, {names["champion"], names["v1"]}, shop.digest)
    active = RegionLease.of(standby)
    held = active.look()
    active.close()
    return Score(
        kind=kind,
        fault="Every process of the primary killed, its disk removed",
        at=datetime.fromtimestamp(lost_at, UTC),
        region="standby",
        snapshot=str(done["plan"]["snapshot"]),
        epoch=held.epoch if held else 0,
        rpo=max(0.0, lost_at - newest),
        first_answer=first_answer,
        full_capacity=recovered,
        lost_rows=sum(sequence > kept for _, sequence in acknowledged),
        lost_events=len(events - logged(standby)),
        asked=REQUESTS,
        different=sum(one != two for one, two in zip(before, after, strict=True)),
        corrupt=0,
        human_actions=1,
        steps=done["steps"],
        problems=tuple(problems),
    )


def vault_of(standby: Settings) -> Vault:
    """The vault in the standby's own store."""
    from recovery.vault.vault import with_own_vault

    return Vault.of(with_own_vault(standby))


def _watched(oncall: Airflow, run: str, standby: Settings, digest: str, tell: Tell, meddle: Meddle) -> float:
    """Until the run has ended; when the global edge first answered with the champion."""
    first, seen, deadline = 0.0, "", time.time() + PATIENCE
    while (state := oncall.run("recover", run)["state"]) not in ENDED:
        if time.time() > deadline:
            return time.time()
        tasks = oncall.tasks("recover", run)
        meddle(tasks)
        now = [t["task_id"] for t in tasks if t["state"] == "running"]
        if now and now[0] != seen:
            seen = now[0]
            tell("recover", seen)
        if not first and seen in ("edge", "open", "probe") and serves(standby, standby.global_edge_address) == digest:
            first = time.time()
        time.sleep(0.3)
    while not first and state == "success" and time.time() < deadline:
        if serves(standby, standby.global_edge_address) == digest:
            first = time.time()
        time.sleep(0.2)
    return first or time.time()


def _files(standby: Settings, digests: set[Any], champion: str) -> list[str]:
    """What does not resolve to verified files."""
    store = ObjectStore.of(standby)
    wrong = [] if resolve(store, "serving/standby/champion") == champion else ["the engine's pointer is another"]
    for digest in digests:
        try:
            fetch(store, digest, standby.cache / "checked")
        except CaravanError as error:
            wrong.append(str(error))
    return wrong


def main() -> int:
    """A drill on a stack of its own, with a live view; opens the page. Exit code 1 when it did not go well."""
    from caravan.cli.console.step_board import StepBoard
    from tests.scenarios.two_regions import two_regions

    with StepBoard() as board:
        board("stack", "two regions, Airflow and the global edge are starting")
        with two_regions() as s:
            oncall = Airflow.of(s, "oncall")
            oncall.ensure_ready("recover")
            score = drill(s, oncall, tell=board)
    page = write_score(score, Path(".caravan") / "rehearsals")
    print(f"RPO {score.rpo:.1f} s, first answer {score.first_answer:.0f} s, all {score.full_capacity:.0f} s, "
          f"{score.asked - score.different} of {score.asked} answers as before, {score.lost_rows} lost")  # fmt: skip
    for failure in score.failures():
        print(f"  {failure}")
    print(f"page: {page.resolve()}")
    webbrowser.open(page.resolve().as_uri())
    return 1 if score.failures() else 0


if __name__ == "__main__":
    sys.exit(main())
