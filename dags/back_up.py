"""`back_up`: a snapshot of the active region into the other region's store, looked at from outside. Wiring only."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from airflow.sdk import DAG, AssetOrTimeSchedule, CronTriggerTimetable, task
from caravan_airflow import assets
from caravan_airflow.retries import REFUSALS_ARE_FINAL
from caravan_airflow.ui.forms import back_up_params

DOC = """
### A recovery point

Every quarter of an hour, and after every promotion. Between two of them the region's feed sends the database's log,
the event log and new objects all the time, so a snapshot does not decide how much is lost: a restore begins with it.

| step | what happens |
|---|---|
| snapshot | copies what is new, a base backup on top of the one before, checks that nothing is missing, signs it |
| verify | looks at it from outside; every byte of it when it is a full one |

The first of a day is a full one: a full base backup, and every byte that is in the vault is read; what is damaged
there is uploaded again.

No run removes anything: `caravan snapshot prune` is a person's act, with the credential of the vault's administrator.
When the disk is nearly full, an alert says so (`caravan alerts`).

Without a second region there is nowhere to put it: the run says so, and is skipped.
"""

QUARTERS = CronTriggerTimetable("*/15 * * * *", timezone="UTC", run_immediately=timedelta(minutes=1))

with DAG(
    dag_id="back_up",
    dag_display_name="Back up",
    description="A snapshot of the active region into the other region's store",
    doc_md=DOC,
    schedule=AssetOrTimeSchedule(timetable=QUARTERS, assets=[assets.CHAMPION]),
    start_date=datetime(2026, 1, 1),
    catchup=False,
    is_paused_upon_creation=False,
    max_active_runs=1,
    params=back_up_params(),
    tags=["caravan", "recovery"],
    default_args={
        "owner": "on-call",
        "retries": 2,
        "retry_delay": timedelta(seconds=20),
        "retry_policy": REFUSALS_ARE_FINAL,
        "execution_timeout": timedelta(hours=2),
    },
    dagrun_timeout=timedelta(hours=4),
) as dag:

    @task(outlets=[assets.SNAPSHOT], doc_md="Takes the snapshot. Killed anywhere, it leaves the one before the newest.")
    def snapshot(**context: Any) -> Any:
        from caravan_airflow.recovery import tasks

        return tasks.back_up(context)

    @task(doc_md="Existence, size and closure of everything in it; every byte when it is a full one.")
    def verify(taken: Any) -> Any:
        from caravan_airflow.recovery import tasks

        return tasks.verify(taken)

    verify(snapshot())
