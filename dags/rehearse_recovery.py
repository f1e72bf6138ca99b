"""`rehearse_recovery`: weekly proof that the other region could take over.

Wiring only; `caravan rehearse` does the same.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from airflow.sdk import DAG, CronTriggerTimetable, task
from caravan_airflow.ui.forms import rehearsal_params

DOC = """
### Could the other region take over?

Restores the passive region from its own store as if the active one were lost, asks it recorded questions and compares
every answer, item by item, with the active region's. The lease stays where it is; no shopper notices.

The page says how much would be lost (RPO), how long shoppers would wait (RTO), and each step's time. It is in
`rehearsals/` of the stack's folder and beside the snapshots. A rehearsal that goes wrong alerts (`caravan alerts`), and
so does one that is overdue.

Without a second region there is nothing to rehearse: the run says so, and is skipped.
"""

with DAG(
    dag_id="rehearse_recovery",
    dag_display_name="Rehearse recovery",
    description="Weekly proof that the other region could take over",
    doc_md=DOC,
    schedule=CronTriggerTimetable("0 4 * * 0", timezone="UTC", run_immediately=timedelta(minutes=5)),
    start_date=datetime(2026, 1, 1),
    catchup=False,
    is_paused_upon_creation=False,
    max_active_runs=1,
    params=rehearsal_params(),
    tags=["caravan", "recovery"],
    default_args={
        "owner": "on-call",
        "retries": 0,  # a fault that cuts shoppers off must not do so a second time by itself
        "execution_timeout": timedelta(hours=4),
    },
    dagrun_timeout=timedelta(hours=8),
) as dag:

    @task(doc_md="Restores, compares, scores and writes the page; red when something is not as it should be.")
    def rehearse(**context: Any) -> Any:
        from caravan_airflow.recovery import tasks

        return tasks.rehearse(context)

    rehearse()
