"""Turns Airflow's context into a call of one of our functions, and its result into XComs.

`@step` lets a DAG task be one call: it reads day, source and recipe out of the context, says in the log what
is about to happen, tells the assets which digest was made, and lays links to the evidence on the task's page.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import Any, Concatenate, ParamSpec

from caravan_airflow.conf import demand_known
from contracts.dates import read_day
from contracts.error_record import ErrorRecord
from contracts.errors import CaravanError, SettingsError
from contracts.settings import SOURCE_NAME
from training.recipes import names

log = logging.getLogger(__name__)

RECIPES = tuple(names())
#: Canary policies that a run may choose.
ROLLOUTS = ("default", "demo")

#: XCom keys under which a step leaves its links; plugins/caravan_airflow/ui/links.py turns them into buttons.
LINKS = {"mlflow": "MLflow", "report": "Drift report", "release": "Release run"}

#: XCom keys under which a step leaves a sentence for the night, and the ErrorRecord of what ended it, as JSON.
SAYS, ERROR = "says", "error"
#: And what a step made that returns the name of the next task.
MADE = "made"

#: Loggers of others that drown what a person reads in a task's log.
TALKATIVE = ("onnxscript", "onnx_ir", "onnx", "torch", "feast", "mlflow", "alembic", "botocore", "httpx")

P = ParamSpec("P")
Made = str | dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Run:
    """What one run of the chain is about."""

    day: str
    source: str
    recipe: str
    rollout: str = ROLLOUTS[0]
    author: str = "schedule"
    kind: str = "manual"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a step made: a digest (or several, by name), and pages that show it.

    `says` is a sentence for whoever asks how the night ended, `about` goes to the assets, and a step that decides how
    the night goes on names the task that is `next`.
    """

    made: Made
    links: dict[str, str] = field(default_factory=dict)
    says: str = ""
    about: dict[str, Any] = field(default_factory=dict)
    next: str = ""


class NothingToDo(CaravanError):
    """There is no work for this run, and that is all right; the rest of the chain is skipped."""


def chosen(context: Mapping[str, Any], *, now: datetime | None = None) -> Run:
    """Return day, source, recipe and rollout of the run that `context` belongs to, and who started it.

    The day is the one from the form; else the first day of the data interval (a scheduled run or a backfill of D
    has the interval [D, D+1)); else, without any interval, the day before the run was asked for. Raises
    SettingsError for a day that is not over, and for words that the form would not have let through.
    """
    now = now or datetime.now(UTC)
    params, dag_run = context["params"], context["dag_run"]
    demand_known("nightly", params)
    source, recipe, wanted = str(params["source"]), str(params["recipe"]), params.get("day")
    rollout = str(params.get("rollout", ROLLOUTS[0]))
    if not SOURCE_NAME.fullmatch(source) or recipe not in RECIPES or rollout not in ROLLOUTS:
        raise SettingsError(
            f"source {source!r}, recipe {recipe!r} or rollout {rollout!r} is not usable",
            remedy="start the run from its form",
        )
    kind = str(getattr(dag_run.run_type, "value", dag_run.run_type))  # an enumeration whose str is its Python name
    if wanted and kind == "backfill":
        raise SettingsError("this backfill also names a day", remedy="leave Day empty: a backfill's dates are its days")
    start = dag_run.data_interval_start
    day = read_day(wanted or (start or dag_run.run_after - timedelta(days=1)).date(), now=now, over=True)
    person = getattr(dag_run, "triggering_user_name", None)
    author = str(person or ("schedule" if kind == "scheduled" else kind))
    return Run(day=day.isoformat(), source=source, recipe=recipe, rollout=rollout, author=author, kind=kind)


def step(function: Callable[Concatenate[Run, P], Outcome]) -> Callable[Concatenate[Mapping[str, Any], P], Made]:
    """Let `function` of a Run be called with Airflow's context; the plain one stays at `.__wrapped__`."""

    @wraps(function)
    def call(context: Mapping[str, Any], /, *args: P.args, **kwargs: P.kwargs) -> Made:
        run = chosen(context)
        for name in TALKATIVE:
            logging.getLogger(name).setLevel(logging.WARNING)
        log.info("%s of %s for %s (recipe %s)", function.__name__, run.day, run.source, run.recipe)
        start = time.monotonic()
        try:
            outcome = function(run, *args, **kwargs)
        except NothingToDo as reason:
            from airflow.sdk.exceptions import AirflowSkipException

            context["ti"].xcom_push(key=SAYS, value=str(reason))
            context["ti"].xcom_push(key=ERROR, value=ErrorRecord.of(reason).to_json())
            raise AirflowSkipException(str(reason)) from None
        except Exception as error:
            context["ti"].xcom_push(key=ERROR, value=ErrorRecord.of(error).to_json())
            raise
        about = {**(outcome.made if isinstance(outcome.made, dict) else {"digest": outcome.made}), **outcome.about}
        for asset in context["task"].outlets:
            context["outlet_events"][asset].extra = {"source": run.source, "day": run.day, **about}
        for name, url in outcome.links.items():
            log.info("%s: %s", LINKS[name], url)
            context["ti"].xcom_push(key=name, value=url)
        if outcome.says:
            log.info("%s", outcome.says)
            context["ti"].xcom_push(key=SAYS, value=outcome.says)
        if outcome.next:
            context["ti"].xcom_push(key=MADE, value=outcome.made)
        log.info("%s took %.1f s", function.__name__, time.monotonic() - start)
        return outcome.next or outcome.made

    return call
