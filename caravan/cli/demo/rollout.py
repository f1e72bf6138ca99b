"""Rolls a release out in the second half of `caravan demo`: approval, replayed shoppers, promotion."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from caravan.cli.demo.reason import reason_for
from contracts.errors import ReleaseError, StackError
from contracts.release import IN_FLIGHT

if TYPE_CHECKING:
    from pathlib import Path

    from artifacts.ledger import CurrentRelease, Ledger, Move
    from caravan.cli.airflow_api import Airflow
    from contracts.settings import Settings
    from serving.replay.report import ReplayReport
    from serving.replay.sessions import Session

#: Steps of shoppers per second; each is a question and what the shopper does then.
SHOPPER_STEPS_PER_S = 80.0
#: Shoppers who are in the shop at a time.
CROWD = 800
#: People who come at least, so that even an arm of one percent has some: in a small shop, guests after the shoppers.
PEOPLE = 1_000
#: Seconds between two lines that say what is waited for.
WAIT_LINE_INTERVAL_S = 15.0
#: Seconds after which something that gives no sign of life is given up. What lives may take its time: a busy machine
#: is no fault, and the policy has its own limits, after which the controller ends a release.
SILENCE_LIMIT_S = 180.0
#: The hurried policy that the demo's releases are judged by.
POLICY = "demo"
#: How often the reviewer lets the release go on: a controller that sends it back may have met a machine that hung.
CHANCES = 2
_AGAIN = "`caravan status`, then `caravan demo` again: it goes on from here"


class DemoShoppers:
    """Recorded sessions, replayed through the edge until somebody says stop."""

    def __init__(
        self, s: Settings, events: list[Path], *, rate: float = SHOPPER_STEPS_PER_S, fresh_shoppers: bool = False
    ) -> None:
        from serving.replay.plan import ReplayPlan
        from serving.replay.sessions import read_sessions

        self.report: ReplayReport | None = None
        # many shoppers at a time, so that a small arm soon has some
        self._plan = ReplayPlan(
            url=s.edge_address, key=s.shop_key, rate=rate, duration=3600.0, fresh_shoppers=fresh_shoppers,
            shoppers=CROWD,
        )  # fmt: skip
        self._sessions = with_guests(read_sessions(events))
        self._stop = threading.Event()

    @contextmanager
    def shopping(self) -> Iterator[DemoShoppers]:
        thread = threading.Thread(target=self._run, name="replay", daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            thread.join(timeout=30)

    def _run(self) -> None:
        from serving.replay.open_loop import run_replay

        self.report = run_replay(self._plan, self._sessions, stop=self._stop)


def with_guests(sessions: list[Session]) -> list[Session]:
    """Return the sessions, and after them as many of others who do the same as it takes until PEOPLE have come.

    Which arm somebody meets is fixed: of a hundred shoppers none may be in an arm of one percent, ever.
    """
    shoppers = len({session.user_id for session in sessions})
    guests = range(1, -(-PEOPLE // max(shoppers, 1)))
    return [*sessions, *(replace(one, user_id=f"{one.user_id}-guest-{n}") for n in guests for one in sessions)]


def release(console: Any, s: Settings, digest: str, events: list[Path]) -> None:
    """Bring the release to its end, wherever it is on its road, as the reviewer and with shoppers. Raises ReleaseError.

    A demo before this one may have left it, or an older one, anywhere: asked about, in the shadow, on a step.
    """
    from artifacts.ledger import Ledger
    from caravan.cli.airflow_api import Airflow

    ledger, reviewer, admin = (
        Ledger.of(s),
        Airflow.of(s, "reviewer", patience=SILENCE_LIMIT_S),
        Airflow.of(s, patience=SILENCE_LIMIT_S),
    )

    def say(text: str) -> None:
        console.print(text, soft_wrap=True, highlight=False)

    try:
        _refuse_when_frozen(ledger)
        with DemoShoppers(s, events).shopping() as shoppers:
            for other in ledger.releases(s.shop, among=IN_FLIGHT):
                if other.digest != digest:
                    make_room(say, s, ledger, other)
            say("policy demo: small steps and wide margins; a shop uses default")
            bring(say, s, ledger, digest, reviewer=reviewer, admin=admin)
    finally:
        reviewer.close()
        admin.close()
    report = shoppers.report
    if report is not None:
        errors = sum(report.errors.values())
        console.print(
            f"{report.requests:,} requests of {report.shoppers:,} shoppers meanwhile, {errors} failed, "
            f"p50 {report.latency_ms.p50:.0f} ms, p99 {report.latency_ms.p99:.0f} ms",
            soft_wrap=True,
        )


def left(s: Settings, ledger: Ledger, day: str, day_of: Callable[[str], str]) -> str | None:
    """Return the release of this day that an earlier demo has offered and not brought to its end."""
    for place in ledger.releases(s.shop, among=("gated", "rolled_back", *IN_FLIGHT)):
        if _policy(ledger, place) == POLICY and day_of(place.digest) == day:
            return place.digest
    return None


def make_room(say: Callable[[str], None], s: Settings, ledger: Ledger, other: CurrentRelease) -> None:
    """Bring another release that is in progress to its end first: there is one canary at a time."""
    if _policy(ledger, other) != POLICY:
        raise ReleaseError(
            f"release {other.digest[:12]} is in progress ({other.state}), by a shop's policy: that takes days",
            remedy=f"`caravan release stop {other.digest[:12]} --reason …`, then `caravan demo` again",
        )
    say(f"release {other.digest[:12]} of a demo before this one is in progress ({other.state}):")
    follow(say, s, ledger, other.digest)


def _policy(ledger: Ledger, place: CurrentRelease) -> str:
    gated = ledger.newest("gated", source=place.source, digest=place.digest)
    return str(gated.evidence.get("policy", "default")) if gated else "default"


def bring(
    say: Callable[[str], None], s: Settings, ledger: Ledger, digest: str, *, reviewer: Airflow, admin: Airflow
) -> None:
    """Bring the release to champion from its present state. Raises ReleaseError with a remedy where it cannot be."""
    chances = CHANCES
    while (state := ledger.state(s.shop, digest)) != "champion":
        if state in IN_FLIGHT:
            follow(say, s, ledger, digest)
            continue
        last = ledger.newest(state, source=s.shop, digest=digest) if state else None
        why = f": {last.reason} ({last.actor})" if last else ""
        by_controller = last is not None and last.actor == "controller"
        if state not in ("gated", "rolled_back") or (state == "rolled_back" and not (by_controller and chances)):
            raise ReleaseError(
                f"release {digest[:12]} is {state or 'not in the ledger'}{why}", remedy=_way_on(digest, state)
            )
        if state == "rolled_back":
            say(f"release {digest[:12]} was sent back{why}; the reviewer gives it another chance")
        run = approve(say, ledger, s, digest, reviewer=reviewer, admin=admin)
        if run:
            say(f"approved in Airflow by the reviewer: {s.airflow_address}/dags/release/runs/{run}")
        chances -= 1


def approve(
    say: Callable[[str], None], ledger: Ledger, s: Settings, digest: str, *, reviewer: Airflow, admin: Airflow
) -> str | None:
    """Answer the request about the release, have it put where none was made, and wait until the ledger knows.

    The id of the request's run; None when somebody else was faster. Raises ReleaseError for an answer that was not
    taken, StackError when nothing moves for long.
    """
    heard = spoke = time.monotonic()
    before, since = ledger.state(s.shop, digest), _newest_refusal(ledger, s, digest)
    answered, asked = None, False
    while ledger.state(s.shop, digest) == before:
        now = time.monotonic()
        asking = any(run["state"] in ("queued", "running") for run in _runs(admin, digest))
        heard = now if asking else heard
        if not answered and (task := _request(reviewer, digest)) is not None:
            path = f"/dags/release/dagRuns/{task['dag_run_id']}/taskInstances/{task['task_id']}/{task['map_index']}"
            body = {
                "chosen_options": ["Approve"],
                "params_input": {"digest": digest[:12], "reason": reason_for(s, digest)},
            }
            reviewer.call("PATCH", f"{path}/hitlDetails", json=body)
            answered = str(task["dag_run_id"])
        elif not answered and not asking and not asked:  # sent back, or the offer was cut short
            with suppress(StackError):  # it may have been done all the same: the next look tells
                admin.trigger("release", {"source": s.shop, "digest": digest}, note="asked by `caravan demo`")
                asked = True
        if (refused := _newest_refusal(ledger, s, digest)) != since and refused is not None:
            raise ReleaseError(f"the answer of {refused.actor} was not taken: {refused.reason}", remedy=_AGAIN)
        if now - spoke > WAIT_LINE_INTERVAL_S:
            spoke = now
            say(f"  {_awaited(ledger, s, digest, answered)}: {s.airflow_address}/dags/release")
        if now - heard > SILENCE_LIMIT_S:
            raise StackError(
                f"nothing has come of the request about {digest[:12]} for {SILENCE_LIMIT_S:.0f} s", remedy=_AGAIN
            )
        time.sleep(1)
    return answered


def _awaited(ledger: Ledger, s: Settings, digest: str, answered: str | None) -> str:
    from releases.approval.approval import Rules, counted

    rules = Rules.of(s)
    missing = rules.required - len(counted(ledger, rules, s.shop, digest))
    if answered and missing < rules.required:
        return f"{missing} more must approve"
    return "waiting until the answer is written down" if answered else "waiting until the reviewer is asked"


def _newest_refusal(ledger: Ledger, s: Settings, digest: str) -> Move | None:
    return ledger.newest("refused", source=s.shop, digest=digest)


def follow(say: Callable[[str], None], s: Settings, ledger: Ledger, digest: str) -> None:
    """Print every move of the release until it is on no way any more, and what the controller does meanwhile."""
    from releases.rollout.routing_wait import last_beat

    began, heard = time.monotonic(), time.monotonic()
    told, spoke = len(ledger.history(s.shop, digest)), time.monotonic()
    while True:
        moves = ledger.history(s.shop, digest)
        for move in moves[told:]:
            say(_line(move, time.monotonic() - began))
            spoke = time.monotonic()
        told = len(moves)
        if ledger.state(s.shop, digest) not in IN_FLIGHT:
            return
        _refuse_when_frozen(ledger)
        beat = last_beat(s)
        if beat is not None and time.time() - beat.at < WAIT_LINE_INTERVAL_S:
            heard = time.monotonic()
            if time.monotonic() - spoke > WAIT_LINE_INTERVAL_S:
                spoke = time.monotonic()
                say(f"  {time.monotonic() - began:4.0f} s  {beat.doing}")
        if time.monotonic() - heard > SILENCE_LIMIT_S:
            raise StackError(
                f"the controller has been silent for {SILENCE_LIMIT_S:.0f} s",
                remedy=_AGAIN,
            )
        time.sleep(0.5)


def _request(reviewer: Airflow, digest: str) -> dict[str, Any] | None:
    """Return the task that waits for an answer about the release."""
    params = {"response_received": False, "limit": 100}
    waiting = reviewer.call("GET", "/dags/release/dagRuns/~/hitlDetails", params=params)
    for request in waiting["hitl_details"]:
        task = dict(request["task_instance"])
        about = str(request["subject"]) + str(request["params"])
        if digest[:12] in about and task["state"] in ("awaiting_input", "deferred"):
            return task
    return None


def _runs(admin: Airflow, digest: str) -> list[dict[str, Any]]:
    """List runs of `release` about this digest, the newest first."""
    params = {"order_by": "-run_after", "limit": 100}
    runs = admin.call("GET", "/dags/release/dagRuns", params=params)["dag_runs"]
    return [run for run in runs if (run.get("conf") or {}).get("digest") == digest]


def _refuse_when_frozen(ledger: Ledger) -> None:
    from releases.rollout.freeze import frozen

    if (held := frozen(ledger)) is not None:
        raise ReleaseError(
            f"no release goes on: frozen by {held.actor} ({held.reason})",
            remedy="`caravan thaw --reason …`, then `caravan demo` again",
        )


def _way_on(digest: str, state: str | None) -> str:
    if state == "rolled_back":
        return f"`caravan release approve {digest[:12]} --reason …` gives it another chance, then `caravan demo` again"
    return "the next day's release is a new one: `caravan demo` tomorrow, or with a later --end"


def _line(move: Move, seconds: float) -> str:
    return f"  {seconds:4.0f} s  {move.to_state:<10} {move.actor}: {move.reason}"
