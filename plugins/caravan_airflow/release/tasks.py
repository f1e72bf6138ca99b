"""Does what the tasks of `release` do beside asking and waiting: the brief, its links, closing a request."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from caravan_airflow.active import here
from caravan_airflow.conf import demand_known
from contracts.errors import CaravanError, NotApproved, StackError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from artifacts.ledger import Ledger, Move
    from caravan_airflow.service import Service
    from contracts.settings import Settings
    from releases.approval.approval import Rules
    from releases.approval.review_summary import Brief

log = logging.getLogger(__name__)

#: Seconds that the brief waits for the drift report, which the chain writes last.
DRIFT_REPORT_TIMEOUT_S = 180.0
#: Seconds that an answer which is being recorded may take before its request is closed.
CLOSE_REQUEST_TIMEOUT_S = 60.0
#: States of a task that asks, or is about to ask again.
ASKING = ("awaiting_input", "up_for_retry", "deferred")
ENDED = ("success", "failed", "skipped", "upstream_failed", "removed")


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a person is asked."""

    subject: str
    body: str
    notice: str


def brief(context: Mapping[str, Any]) -> str:
    """Write the review brief into the log, put its links on the task's page, and record that people are asked."""
    from artifacts.ledger import Ledger
    from artifacts.object_store import ObjectStore
    from releases.approval.approval import AWAITING, Rules, ask
    from releases.approval.review_summary import brief as write

    s = here()
    source, digest = _about(context)
    ledger, store = Ledger.of(s), ObjectStore.of(s)
    _await_drift(s, source, digest)
    written = write(ledger, store, source, digest)
    for name, url in links(s, source, written).items():
        log.info("%s: %s", name, url)
        context["ti"].xcom_push(key=name, value=url)
    log.info("%s", written.title)
    for line in written.text.splitlines():
        log.info("%s", line)
    if ledger.state(source, digest) in AWAITING:
        try:
            ask(ledger, Rules.of(s), source, digest, actor="airflow")
        except NotApproved as late:  # the brief is written; the step `approved` says in red what became of it
            log.warning("%s", late)
    return digest


def request(s: Settings, ledger: Ledger, rules: Rules, source: str, digest: str) -> Request:
    """Write title and text of the request, and what came of the answers so far."""
    from artifacts.object_store import ObjectStore
    from releases.approval.review_summary import brief as write

    written = write(ledger, ObjectStore.of(s), source, digest)
    pages = links(s, source, written)
    shown = " · ".join(f"[{NAMES[name]}]({url})" for name, url in pages.items())
    first, _, rest = written.text.partition("\n\n")
    body = "\n\n".join(part for part in (first, shown, rest) if part)
    return Request(subject=written.title, body=body, notice=notice(ledger, rules, source, digest))


def notice(ledger: Ledger, rules: Rules, source: str, digest: str) -> str:
    """Say what came of the answers since people were asked: the newest refusal, and who has approved already."""
    from releases.approval.approval import approvers
    from releases.approval.summary_figures import plain

    lines: list[str] = []
    asked = 0
    refused = None
    for move in ledger.history(source, digest):
        if move.to_state == "asked":
            asked, refused = move.sequence, None
        elif move.to_state == "refused" and asked:
            refused = move
        elif move.to_state == "approval":
            refused = None
    if refused is not None:
        lines.append(f"The answer of {plain(refused.actor)} was not taken: {plain(refused.reason)}.")
    people = approvers(ledger, source, digest)
    if people:
        names = ", ".join(plain(person) for person in people)
        lines.append(f"{len(people)} of {rules.required} have approved: {names}.")
    return " ".join(lines)


#: Links of the brief, by the XCom key under which a task leaves them.
NAMES = {"mlflow": "MLflow version", "run": "training run", "report": "drift report"}


def links(s: Settings, source: str, written: Brief) -> dict[str, str]:
    """Find the pages that show more; those that are not known now are left out."""
    from artifacts.registry import mlflow_client, mlflow_page, model_name

    found: dict[str, str] = {}
    if written.version:
        found["mlflow"] = mlflow_page(s, f"models/{model_name(source)}/versions/{written.version}")
    if written.run_id:
        from mlflow.exceptions import MlflowException

        try:
            run = mlflow_client(s).get_run(written.run_id)
        except MlflowException as error:
            log.warning("MLflow does not know run %s: %s", written.run_id, error)
            return found
        place = f"experiments/{run.info.experiment_id}/runs/{written.run_id}"
        found["run"] = mlflow_page(s, place)
        if run.data.tags.get("caravan.drift") and written.day:
            found["report"] = mlflow_page(s, f"{place}/artifacts/drift/{written.day}/report.html")
    return found


def close_request(context: Mapping[str, Any], *, timeout: float = CLOSE_REQUEST_TIMEOUT_S) -> str:
    """End the request of this run, because the release awaits no answer any more."""
    from artifacts.ledger import Ledger
    from caravan_airflow.service import Service

    s = here()
    source, digest = _about(context)
    told = why_closed(Ledger.of(s).history(source, digest))
    with Service.of(s) as service:
        return close(service, str(context["ti"].run_id), told, timeout=timeout)


def why_closed(moves: list[Move]) -> str:
    """Say that this run asks no more, and what came of the approval by the ledger."""
    from releases.progress import read_progress, says

    found = read_progress(moves, "approved").move
    return f"This run asks no more. The ledger says: {says(found) if found else 'nothing of this release'}"


def close(
    service: Service, run: str, told: str, *, timeout: float = CLOSE_REQUEST_TIMEOUT_S, every: float = 0.5
) -> str:
    """Wait until an answer in hand is recorded; end what still asks, with a note. Return the state afterwards."""
    from caravan_airflow.release.answers import TASK

    deadline = time.monotonic() + timeout
    while True:
        state = service.state(run, TASK)
        if state in ENDED:
            log.info("the request has ended: %s", state)
            return str(state)
        if state in ASKING:
            service.skip(run, TASK, told)
            log.info("the request is closed: %s", told)
            return "skipped"
        if time.monotonic() > deadline:
            raise StackError(f"the request is {state} for {timeout:.0f} s", remedy="clear this task later")
        time.sleep(every)


def _await_drift(s: Settings, source: str, digest: str) -> None:
    """Wait until the night that made the release has reported its drift, which it does last."""
    from artifacts.lake import Lake
    from artifacts.publish import read_manifest

    lake = Lake.of(s, source)
    try:
        day = str(read_manifest(lake.store, digest).meta.get("day", ""))
    except CaravanError:
        return
    deadline = time.monotonic() + DRIFT_REPORT_TIMEOUT_S
    if not day or lake.digest("shopper_activity", day) is None:
        return
    while lake.digest("drift", day) is None and time.monotonic() < deadline:
        time.sleep(2)


def _about(context: Mapping[str, Any]) -> tuple[str, str]:
    demand_known("release", context["params"])
    return str(context["params"]["source"]), str(context["params"]["digest"])
