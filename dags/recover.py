"""`recover`: a region takes over from the snapshots in its own store. Wiring only; `caravan recover` does the same."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import DAG, TriggerRule, chain, task
from caravan_airflow.recovery.tasks import CONFIRMATIONS
from caravan_airflow.retries import REFUSALS_ARE_FINAL
from caravan_airflow.ui.forms import recover_params

from contracts.recovery import RESTORE_STEPS

DOC = """
### The region is lost: the other one takes over

Fill in why, and press Trigger. Nothing of the lost region is asked for anything. Every step may be done again: after a
failure clear the failed task, or start the run again with the same point.

| step | what happens |
|---|---|
| look | says what the restore would do, and what refuses it |
| first_person, second_person | only when the other region still answers: two different people must confirm |
| preflight … keys | the newest snapshot that is whole, the right keys, room |
| fence | from here on the other region cannot write, in whatever state it wakes up; a new epoch begins |
| database … features | everything the snapshot and the log after it hold |
| engines, probe | the champion, and questions it must answer |
| edge, open | shoppers, and last of all writes |

Without Airflow: `caravan recover --reason "..."`. See docs/runbooks/region-lost.md.
"""

SAYS = {
    "preflight": "Starts this region's stores; refuses while the other region answers, unless two people confirmed.",
    "choose": "The newest snapshot that is whole; a corrupt one is named and passed over for an older one.",
    "keys": "The very keys the snapshot was taken with, told by their fingerprints, and room for it.",
    "fence": "Denies the other region its lease and waits until it has run out. Then the next epoch begins here.",
    "database": "Base backups combined, the log replayed to the point, the ledger's chain verified.",
    "artifacts": "The buckets, each object verified; pointers last.",
    "erasures": "Shoppers who were erased since the snapshot are erased again; stops when that cannot be read.",
    "registry": "MLflow, its aliases set to what the ledger says.",
    "features": "Event log unpacked, the online store filled again.",
    "engines": "Releases in progress are rolled back; the engine serves the ledger's champion.",
    "probe": "Questions the engine must answer; then the snapshot counts as proven.",
    "edge": "All shoppers to the champion.",
    "open": "Controller, feed and the engines of a canary: open for writes.",
}

with DAG(
    dag_id="recover",
    dag_display_name="Recover",
    description="A region is lost: the other one takes over, from the snapshots in its own store",
    doc_md=DOC,
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    is_paused_upon_creation=False,
    max_active_runs=1,
    params=recover_params(),
    tags=["caravan", "recovery"],
    default_args={
        "owner": "on-call",
        "retries": 3,  # a task and its scheduler may both be killed
        "retry_delay": timedelta(seconds=5),
        "retry_policy": REFUSALS_ARE_FINAL,
        "execution_timeout": timedelta(hours=2),
    },
    dagrun_timeout=timedelta(hours=12),
) as dag:

    @task.branch(doc_md="What would be done, and whether two people must confirm it.")
    def look(**context: Any) -> Any:
        from caravan_airflow.recovery import tasks

        return tasks.look(context)

    @task(doc_md="Two different people, by Airflow's own record of the answers.")
    def two_people(**context: Any) -> Any:
        from caravan_airflow.recovery import tasks

        return tasks.two_people(context)

    @task(doc_md="One step.")
    def step(**context: Any) -> Any:
        from caravan_airflow.recovery import tasks

        return tasks.step(context, context["ti"].task_id)

    seen, confirmed = look(), two_people()
    for asked in CONFIRMATIONS:
        person = ApprovalOperator(
            task_id=asked,
            subject="Replace a region's state although the other region still answers?",
            body="The form of this run says which region, to which point, and why. Two active regions lose writes: the "
            "other one is denied its lease first, and what it accepted last is brought over at failback.",
            ignore_downstream_trigger_rules=True,  # a no ends the run here
            response_timeout=timedelta(minutes=30),
            doc_md="A person who looked at the region confirms that it must be replaced. The two must not be the same.",
        )
        seen >> person >> confirmed
    start, *others = RESTORE_STEPS
    first = step.override(task_id=start, doc_md=SAYS[start], trigger_rule=TriggerRule.NONE_FAILED)()
    chain([seen, confirmed], first, *(step.override(task_id=name, doc_md=SAYS[name])() for name in others))
