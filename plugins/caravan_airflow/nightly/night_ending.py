"""Says how a night ended (a release, a refusal, nothing landed, a crash), on its run and as alerts."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from caravan_airflow.step import ERROR, SAYS, chosen
from contracts.error_record import ErrorRecord
from contracts.errors import CaravanError
from contracts.exit_codes import FAULT, UNANSWERED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from artifacts.ledger import Move
    from caravan_airflow.step import Run

log = logging.getLogger(__name__)

DAG = "nightly"
Kind = Literal["released", "refused", "nothing landed", "stopped", "crashed"]


@dataclass(frozen=True, kw_only=True)
class Ending:
    """`task` is the one that decided it, `says` a sentence."""

    kind: Kind
    task: str
    says: str

    @property
    def note(self) -> str:
        """What the run's page says."""
        where = f" in {self.task}" if self.kind in ("stopped", "crashed") else ""
        return f"{self.kind}{where}: {self.says}"


def nothing_new(source: str, served: Move | None, why: str) -> str:
    """Write the sentence of a night that the gate refused; `served` made the champion that shoppers have."""
    if served is None:
        serves = "nothing serves yet"
    elif served.source != source:
        serves = f"no release of {source} serves"
    else:
        serves = f"the champion {served.digest[:12]} serves"
    return f"nothing new tonight, {serves}, because {why[:1].lower()}{why[1:]}"


def ending(states: Mapping[str, str | None], left: Callable[[str, str], Any]) -> Ending:
    """Return what the states of a run's tasks mean; `left` gives what a task left under a name (an XCom)."""
    failed = next((task for task, state in states.items() if state == "failed"), None)
    if failed is not None:
        error = ErrorRecord.from_json(left(failed, ERROR))
        says = str(error or "it ended without a word; its log has the last lines")
        crashed = error is None or error.code in (FAULT, UNANSWERED)
        return Ending(kind="crashed" if crashed else "stopped", task=failed, says=says)
    said: tuple[tuple[str, str, Kind], ...] = (
        ("champion_stays", "success", "refused"), ("validate", "skipped", "nothing landed"),
        ("offer", "success", "released"),
    )  # fmt: skip
    for task, state, kind in said:
        if states.get(task) == state:
            return Ending(kind=kind, task=task, says=str(left(task, SAYS) or ""))
    unfinished = next((task for task, state in states.items() if state not in ("success", "skipped")), "")
    return Ending(kind="crashed", task=unfinished, says="it did not run to its end")


def end(context: Mapping[str, Any]) -> Ending:
    """Write how this night ended on its run and, where somebody should look at it, into the alerts."""
    ti, run = context["ti"], chosen(context)
    states = {
        task: str(getattr(state, "value", state)) if state else None
        for task, state in ti.get_task_states(dag_id=ti.dag_id, run_ids=[ti.run_id]).get(ti.run_id, {}).items()
        if task != ti.task_id
    }
    found = ending(states, lambda task, name: ti.xcom_pull(task_ids=task, key=name))
    log.info("%s", found.note)
    _note(str(ti.run_id), run, found)
    _alert(run, found)
    return found


def _note(run_id: str, run: Run, found: Ending) -> None:
    from caravan_airflow.active import here
    from caravan_airflow.service import NOTE_MAX_CHARS, Service

    tail = f"\n{run.source}, {run.day}, recipe {run.recipe}; started by {run.author}"
    try:
        with Service.of(here()) as service:
            service.note_run(run_id, found.note[: NOTE_MAX_CHARS - len(tail)] + tail, DAG)
            if found.kind == "refused":
                service.note(run_id, found.task, found.says, DAG)
    except CaravanError as error:  # a night does not fail for a line on a page
        log.warning("the note could not be written: %s", error)


def _alert(run: Run, found: Ending) -> None:
    """Alert only on the region's own nights: whoever runs another source or a backfill sees how it ends."""
    from artifacts.ledger import Ledger
    from artifacts.object_store import ObjectStore
    from caravan_airflow.active import here
    from monitoring import alerts, nights

    s = here()
    if run.source != s.shop or run.kind == "backfill":
        return
    if found.kind in ("crashed", "stopped"):
        text = f"the night of {run.day} {found.note}"
        alerts.tell_once(s, f"{run.source} {run.day} {found.note}", part=nights.PART, severity="critical", text=text)
    try:
        champion = Ledger.of(s).champion(run.source)
        nights.watch_nights(s, ObjectStore.of(s), run.source, run.day, champion.digest if champion else None)
    except CaravanError as error:  # what is away made the night crash, and that was alerted
        log.warning("earlier nights could not be checked for alerts: %s", error)
