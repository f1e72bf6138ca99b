"""`fail_back`: the region that was lost serves again, and nothing is lost.

Wiring only; `caravan fail-back` does the same.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from airflow.sdk import DAG, chain, task
from caravan_airflow.retries import REFUSALS_ARE_FINAL
from caravan_airflow.ui.forms import fail_back_params

from contracts.recovery import FAILBACK_STEPS

DOC = """
### Back to the region that was lost

The other region serves all the while; only between `drain` and `open`, about a minute, it takes no writes and answers
`/events` with 503. Shoppers' questions are answered throughout.

| step | what happens |
|---|---|
| look | refuses unless the other region is the active one; starts the stores of this one |
| reconcile | what this region had accepted and the other one never saw is brought over: events, rows, objects |
| copy | the bulk, while the other region serves |
| drain | from here on no writes |
| last_copy | what changed since, exactly |
| preflight … edge | this region restored to that |
| open | the next epoch is this region's |
| protect | its first snapshot goes to the other region |

To stop halfway: `caravan fail-back --give-up` lets the other region take writes again.
"""

SAYS = {
    "look": "Refuses unless the other region is the active one, and starts the stores of this one.",
    "reconcile": "Brings over what this region had accepted and the other one never saw.",
    "copy": "The bulk of the data, while the active region serves and takes writes.",
    "drain": "The active region goes on answering and takes no writes, until the switch is done.",
    "last_copy": "What changed since, exactly.",
    "protect": "The first snapshot of the region that serves now.",
}

OF_THE_RESTORE = "A step of the restore of this region to the last copy; `recover` explains it."

with DAG(
    dag_id="fail_back",
    dag_display_name="Fail back",
    description="The region that was lost is rebuilt from the active one and serves again",
    doc_md=DOC,
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    is_paused_upon_creation=False,
    max_active_runs=1,
    params=fail_back_params(),
    tags=["caravan", "recovery"],
    default_args={
        "owner": "on-call",
        "retries": 2,
        "retry_delay": timedelta(seconds=5),
        "retry_policy": REFUSALS_ARE_FINAL,
        "execution_timeout": timedelta(hours=2),
    },
    dagrun_timeout=timedelta(hours=12),
) as dag:

    @task(doc_md="One step.")
    def step(**context: Any) -> Any:
        from caravan_airflow.recovery import tasks

        return tasks.back(context, context["ti"].task_id)

    chain(*(step.override(task_id=name, doc_md=SAYS.get(name, OF_THE_RESTORE))() for name in FAILBACK_STEPS))
