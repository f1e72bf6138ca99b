"""The second half of `caravan demo`: a release is approved, meets replayed shoppers, and becomes champion."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from contracts.errors import CaravanError, ReleaseError

if TYPE_CHECKING:
    from pathlib import Path

    from artifacts.ledger import Ledger, Move
    from caravan.cli.airflow_api import Airflow
    from contracts.settings import Settings
    from serving.replay_report import Report

#: Steps of shoppers per second; each is a question and what the shopper does then.
RATE = 40.0
#: Shoppers who are in the shop at a time.
CROWD = 800
#: Longest wait for the request to be put, and for the release to come to its end, in seconds.
ASKED_WITHIN, ENDED_WITHIN = 120.0, 600.0
REASON = "The demo's reviewer looked at the brief: better than popularity and neighbours, no slice fell."


class Shoppers:
    """Recorded sessions, replayed through the edge until somebody says stop."""

    def __init__(self, s: Settings, events: list[Path], *, rate: float = RATE, fresh_shoppers: bool = False) -> None:
        from serving.replay import ReplayPlan
        from serving.replay_sessions import read_sessions

        self.report: Report | None = None
        # many shoppers at a time, so that a small arm soon has some
        self._plan = ReplayPlan(
            url=s.edge_address, rate=rate, duration=3600.0, fresh_shoppers=fresh_shoppers, shoppers=CROWD
        )
        self._sessions = read_sessions(events)
        self._stop = threading.Event()

    @contextmanager
    def shopping(self) -> Iterator[Shoppers]:
        thread = threading.Thread(target=self._run, name="replay", daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            thread.join(timeout=30)

    def _run(self) -> None:
        from serving.replay import run

        self.report = run(self._plan, self._sessions, stop=self._stop)


def release(console: Any, s: Settings, digest: str, events: list[Path]) -> None:
    """Answer the request as the reviewer, and follow the release until it is champion. Raises ReleaseError."""
    from artifacts.ledger import Ledger
    from caravan.cli.airflow_api import Airflow

    ledger = Ledger.of(s)
    with Shoppers(s, events).shopping() as shoppers:
        reviewer = Airflow.of(s, "reviewer")
        run = approve(reviewer, digest)
        reviewer.close()
        console.print(
            f"approved in Airflow by the reviewer: {s.airflow_address}/dags/release/runs/{run}", soft_wrap=True
        )
        console.print("policy [bold]demo[/]: small steps and wide margins; a shop uses [bold]default[/]")
        follow(console, s, ledger, digest)
    report = shoppers.report
    if report is not None:
        errors = sum(report.errors.values())
        console.print(
            f"{report.requests:,} requests of {report.shoppers:,} shoppers meanwhile, {errors} failed, "
            f"p50 {report.latency_ms.p50:.0f} ms, p99 {report.latency_ms.p99:.0f} ms",
            soft_wrap=True,
        )


def approve(reviewer: Airflow, digest: str) -> str:
    """Answer the waiting request about `digest`; the id of its run."""
    deadline = time.monotonic() + ASKED_WITHIN
    while time.monotonic() < deadline:
        waiting = reviewer.call("GET", "/dags/release/dagRuns/~/hitlDetails", params={"response_received": False})
        for request in waiting["hitl_details"]:
            task = request["task_instance"]
            if digest[:12] in str(request["subject"]) + str(request["params"]):
                path = f"/dags/release/dagRuns/{task['dag_run_id']}/taskInstances/{task['task_id']}/{task['map_index']}"
                body = {"chosen_options": ["Approve"], "params_input": {"digest": digest[:12], "reason": REASON}}
                reviewer.call("PATCH", f"{path}/hitlDetails", json=body)
                return str(task["dag_run_id"])
        time.sleep(1)
    raise CaravanError(
        f"nobody was asked about {digest[:12]} within {ASKED_WITHIN:.0f} s", remedy="see the DAG `release` in Airflow"
    )


def follow(console: Any, s: Settings, ledger: Ledger, digest: str) -> None:
    """Print every move of the release until it has come to its end."""
    began, told = time.monotonic(), 0
    while time.monotonic() < began + ENDED_WITHIN:
        moves = [move for move in ledger.history(s.shop, digest) if move.to_state not in ("built", "gated", "asked")]
        for move in moves[told:]:
            console.print(_line(move, time.monotonic() - began), soft_wrap=True, highlight=False)
        told = len(moves)
        state = ledger.state(s.shop, digest)
        if state == "champion":
            return
        if state in ("rejected", "rolled_back"):
            raise ReleaseError(
                f"the release is {state}: {moves[-1].reason}", remedy=f"`caravan release show {digest[:12]}`"
            )
        time.sleep(0.5)
    raise ReleaseError(
        f"release {digest[:12]} is {ledger.state(s.shop, digest)} after {ENDED_WITHIN:.0f} s",
        remedy="`caravan canary watch` shows what it waits for",
    )


def _line(move: Move, seconds: float) -> str:
    return f"  {seconds:4.0f} s  {move.to_state:<10} {move.actor}: {move.reason}"
