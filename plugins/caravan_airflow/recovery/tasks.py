"""What the tasks of `recover` and `back_up` do: each runs one step of `caravan`."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from caravan_airflow.active import here
from caravan_airflow.conf import demand_known
from caravan_airflow.recovery.commands import caravan
from contracts.errors import RestoreRefused
from contracts.recovery import RESTORE_STEPS
from contracts.region import other

if TYPE_CHECKING:
    from collections.abc import Mapping

    from contracts.settings import Settings

log = logging.getLogger(__name__)

#: Tasks that ask two people, when the region that is to be replaced still answers.
CONFIRMATIONS = ("first_person", "second_person")


def look(context: Mapping[str, Any]) -> list[str]:
    """Log what the restore would do; return the tasks that come next: two people, or the first step at once."""
    params = context["params"]
    demand_known("recover", params)
    plan = caravan(*_where(params), "--dry-run", *(["--although-alive"] if params["although_alive"] else []))
    for name, value in plan.items():
        log.info("%-14s %s", name, value)
    return list(CONFIRMATIONS) if plan["alive"] else [RESTORE_STEPS[0]]


def two_people(context: Mapping[str, Any]) -> str:
    """Raise RestoreRefused unless two different people said yes; Airflow's own record of the answers counts."""
    from caravan_airflow.service import Service

    names = []
    with Service.of(here()) as service:
        for task in CONFIRMATIONS:
            detail = service.request(str(context["ti"].run_id), task, dag=str(context["ti"].dag_id))
            said_yes = detail.get("chosen_options") == ["Approve"]
            names.append(str((detail.get("responded_by_user") or {}).get("name") or "") if said_yes else "")
    if "" in names or names[0] == names[1]:
        raise RestoreRefused(
            f"one person is not enough while the other region answers: {' and '.join(filter(None, names)) or 'nobody'}",
            remedy="start the run again, and let another person confirm it too",
        )
    log.info("confirmed by %s", " and ".join(names))
    return " and ".join(names)


def step(context: Mapping[str, Any], name: str) -> str:
    """One step of the restore; all before it are done already. What it says it did."""
    params = context["params"]
    # that it may be alive was settled before the first step
    done = caravan(
        *_where(params), "--reason", str(params["reason"]), "--name", str(context["ti"].run_id), "--through", name,
        "--although-alive",
    )  # fmt: skip
    return str(done["steps"][name]["said"])


def back(context: Mapping[str, Any], name: str) -> str:
    """One step of a failback. What it says it did."""
    params = context["params"]
    demand_known("fail_back", params)
    where = ["--region", str(params["region"]), "--reason", str(params["reason"])]
    state = caravan("fail-back", *where, "--through", name)
    return str(state["steps"][name]["said"])


def back_up(context: Mapping[str, Any]) -> dict[str, Any]:
    """Take a snapshot of the active region; return its id, and whether it is a full one."""
    from airflow.sdk.exceptions import AirflowSkipException

    demand_known("back_up", context["params"])
    s = here()
    if (missing := _no_other(s)) is not None:
        raise AirflowSkipException(missing)
    taken = caravan("snapshot", "create", "--region", s.region, *(["--full"] if context["params"]["full"] else []))
    log.info("%s: %.1f MB moved in %.1f s", taken["id"], taken["moved"] / 1e6, taken["seconds"])
    return {"id": str(taken["id"]), "full": bool(taken["full"])}


def rehearse(context: Mapping[str, Any]) -> str:
    """Restore the passive region and compare; the page."""
    from airflow.sdk.exceptions import AirflowSkipException

    from artifacts.ledger import Ledger

    s, params = here(), context["params"]
    demand_known("rehearse_recovery", params)
    if (missing := _no_other(s)) is not None:
        raise AirflowSkipException(missing)
    if Ledger.of(s).newest("champion") is None:
        raise AirflowSkipException("no release serves yet: there are no answers to compare")
    by_hand = str(context["dag_run"].run_type) != "scheduled"
    score = caravan(
        "rehearse", "--region", other(s.region), "--fault", str(params["fault"]),
        "--questions", str(params["questions"]), "--human-actions", str(int(by_hand)),
    )  # fmt: skip
    for name in ("rpo", "first_answer", "full_capacity", "lost_rows", "lost_events", "asked", "different", "page"):
        log.info("%-14s %s", name, score[name])
    return str(score["page"])


def _no_other(s: Settings) -> str | None:
    away = other(s.region)
    if s.snapshot_endpoint or (s.home / "regions" / away).is_dir():
        return None
    return f"there is no {away} region yet; `caravan up --region {away}` starts one"


def verify(taken: Mapping[str, Any]) -> str:
    """Look at the snapshot from outside: every byte of it when it is a full one. And at the room there is for more."""
    from recovery.vault.free_space import watch

    deep = ["--deep"] if taken["full"] else []
    found = caravan("snapshot", "verify", str(taken["id"]), "--region", here().region, *deep)
    log.info("%s: %d files, %.1f MB", taken["id"], found["files"], found["size"] / 1e6)
    watch(here())
    return str(taken["id"])


def _where(params: Mapping[str, Any]) -> list[str]:
    allowed = ["--although-active"] if params.get("although_active") else []
    return ["recover", "--region", str(params["region"]), "--to", str(params["to"]), *allowed]
