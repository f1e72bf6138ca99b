"""`release`: one release, from the question to people until it is champion. Wiring only.

The ledger alone counts, and the region's controller moves the release. This shows it: it asks, waits and tells.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from airflow.sdk import DAG, TriggerRule, task
from caravan_airflow import assets
from caravan_airflow.release.approval import ASKED_AGAIN, ATTEMPTS, ReleaseApproval
from caravan_airflow.release.waits import LedgerWait
from caravan_airflow.retries import REFUSALS_ARE_FINAL
from caravan_airflow.ui.forms import release_params
from caravan_airflow.ui.links import DriftReportLink, MlflowLink, TrainingRunLink

from contracts.release import CANARY_SHARE, CANARY_STEPS, State

DOC = f"""
### One release, until it is champion

`nightly` starts a run for every release that passed the gate. It can be started by hand too, with the source and the
whole digest: also for a release that was rolled back and shall get another chance.

| step | what happens |
|---|---|
| brief | reads ledger, evaluation, gate and drift; writes what a reviewer should know |
| approval | asks the reviewers, with the brief (**Required actions**). The answer names the digest and a reason |
| approved | waits until the ledger says so: the answer may also come from MLflow or the command line |
| close_request | ends the request when this run waits no more; a note says what the ledger says |
| shadow | copies of requests, answers thrown away |
| {CANARY_STEPS[0]} … {CANARY_STEPS[-1]} | that share of the shoppers, judged all the while |
| champion | all shoppers |

**Nothing here moves a release.** The controller of the region does, by the ledger; it goes on when Airflow is down.
Marking a task as success changes what this page shows and nothing else. A step is green when the release has gone on
beyond it, skipped when it never was there, and red, with the ledger's reason and evidence in its log, when the
release was rejected or rolled back.
"""

STEPS: dict[State, str] = {
    "shadow": "Waits while requests are copied to the release and its answers are compared and thrown away.",
    **{
        step: f"Waits while {share} % of the shoppers get the release"
        + (": until every guardrail is proven, or it stops." if step == CANARY_STEPS[-1] else ".")
        for step, share in CANARY_SHARE.items()
    },
    "champion": "Waits until the ledger says that the release serves all shoppers.",
}

with DAG(
    dag_id="release",
    dag_display_name="Release",
    description="One release, from the question to people until it is champion",
    doc_md=DOC,
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    is_paused_upon_creation=False,
    max_active_runs=50,
    max_active_tasks=100,  # waiting holds no worker
    params=release_params(),
    render_template_as_native_obj=False,
    tags=["caravan", "release"],
    default_args={
        "owner": "machine-learning",
        "retries": 3,
        "retry_delay": timedelta(seconds=10),
        "retry_exponential_backoff": True,
        "max_retry_delay": timedelta(minutes=5),
        "retry_policy": REFUSALS_ARE_FINAL,
        "execution_timeout": timedelta(minutes=10),  # of work; waiting is not counted
    },
    dagrun_timeout=timedelta(days=30),
) as dag:

    @task(doc_md="Reads ledger, evaluation, gate and drift; writes the review brief into its log, with links.")
    def brief(**context: Any) -> Any:
        from caravan_airflow.release import tasks

        return tasks.brief(context)

    @task(
        trigger_rule=TriggerRule.ALL_DONE,
        doc_md="Ends the request for approval when this run waits no more, with a note of what the ledger says.",
    )
    def close_request(**context: Any) -> Any:
        from caravan_airflow.release import tasks

        return tasks.close_request(context)

    written = brief()
    approval = ReleaseApproval(
        task_id="approval",
        retries=ATTEMPTS,
        retry_policy=ASKED_AGAIN,
        retry_delay=timedelta(seconds=2),
        retry_exponential_backoff=False,
        inlets=[assets.RELEASE],
        doc_md="Asks the reviewers. Their answer goes into the ledger with name and reason; one that does not count "
        "(another digest, no reason, no reviewer) is recorded as refused, and it is asked again.",
    )
    approved = LedgerWait(
        task_id="approved",
        step="approved",
        doc_md="Waits until enough reviewers have approved, here or elsewhere. Red when it was rejected.",
    )
    written >> [approval, approved]
    approved >> close_request()

    before = approved
    for name, doc in STEPS.items():
        step = LedgerWait(
            task_id=name,
            step=name,
            trigger_rule=TriggerRule.NONE_FAILED,  # a first release skips the steps in between
            owner="search-and-recommendations",
            outlets=[assets.CHAMPION] if name == "champion" else [],
            doc_md=doc,
        )
        before >> step
        before = step

    written.operator.operator_extra_links = (MlflowLink(), TrainingRunLink(), DriftReportLink())
