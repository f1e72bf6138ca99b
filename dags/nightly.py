"""`nightly`: one day of one shop, from landed events to a release that people are asked about. Wiring only.

plugins/caravan_airflow/nightly/tasks.py calls the rooms that do the work; identifiers travel between tasks, not data.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from airflow.sdk import DAG, CronDataIntervalTimetable, task
from caravan_airflow import assets
from caravan_airflow.retries import REFUSALS_ARE_FINAL
from caravan_airflow.ui.forms import nightly_params
from caravan_airflow.ui.links import DriftReportLink, MlflowLink, ReleaseRunLink

DOC = """
### One night of a shop

Takes the events of one day, and ends with a release trained on them that people are asked about.

| step | reads | makes |
|---|---|---|
| validate | landed events and catalog | partitions `events` and `catalog`; bad rows kept apart with their reasons |
| features | clean events | feature tables of the day |
| materialize | feature tables | the online store, never beyond the end of the day |
| train | feature tables, clean events | a model, in a child process that resumes after a crash |
| evaluate | model, champion, later days | metrics with intervals, for both on the same days |
| gate | evaluation | go, or a refusal with reasons: then `champion_stays`, and the night has ended well |
| register | evaluation | the release, one version in MLflow, alias `challenger` |
| offer | release | a run of `release`, which asks the reviewers; the very first release serves at once |
| report | features and scores | drift against the champion's training window, HTML and JSON |

**Start it by hand** with the form: day, data source, recipe, rollout. **Backfill** any range of days with the form's
source; the dates are the days, and no one is asked about them. Running a day again changes nothing: the same inputs
give the same digests, and no one is asked twice.

A run of the schedule for day D starts when D is over, at D+1 00:00 UTC.
"""

with DAG(
    dag_id="nightly",
    dag_display_name="Nightly",
    description="One day of one shop: from landed events to a release that people are asked about",
    doc_md=DOC,
    schedule=CronDataIntervalTimetable("0 0 * * *", timezone="UTC"),
    start_date=datetime(1990, 1, 1),  # backfills may go this far; catchup=False, so the schedule never does
    catchup=False,
    is_paused_upon_creation=False,  # on from the start: without any landed data the schedule's runs end at once
    max_active_runs=1,
    params=nightly_params(),
    render_template_as_native_obj=False,
    tags=["caravan", "chain"],
    default_args={
        "owner": "data-platform",
        "retries": 2,
        "retry_delay": timedelta(seconds=20),
        "retry_exponential_backoff": True,
        "max_retry_delay": timedelta(minutes=5),
        "retry_policy": REFUSALS_ARE_FINAL,
        "execution_timeout": timedelta(minutes=30),
    },
    dagrun_timeout=timedelta(hours=12),
) as dag:

    @task(
        inlets=[assets.LANDING],
        outlets=[assets.EVENTS],
        doc_md="Splits the day's landed rows into kept and quarantined (kept + quarantined = read) and publishes both. "
        "Fails when a column was lost or retyped, or nothing usable came.",
    )
    def validate(**context: Any) -> Any:
        from caravan_airflow.nightly import tasks

        return tasks.validate(context)

    @task(
        inlets=[assets.EVENTS],
        outlets=[assets.FEATURES],
        execution_timeout=timedelta(hours=2),
        doc_md="Builds the day's feature tables: activity, affinity, recent sequence, popularity, item text vectors.",
    )
    def features(clean: dict[str, str], **context: Any) -> Any:
        from caravan_airflow.nightly import tasks

        return tasks.features(context, clean)

    @task(
        inlets=[assets.FEATURES],
        outlets=[assets.ONLINE_FEATURES],
        doc_md="Applies the feature definitions and brings the online store up to the end of the day.",
    )
    def materialize(tables: dict[str, str], **context: Any) -> Any:
        from caravan_airflow.nightly import tasks

        return tasks.materialize(context, tables)

    @task(
        owner="machine-learning",
        inlets=[assets.FEATURES],
        outlets=[assets.MODEL],
        execution_timeout=timedelta(hours=6),
        doc_md="Trains the recipe in a child process (torchrun). A killed trainer resumes from its checkpoint.",
    )
    def train(tables: dict[str, str], **context: Any) -> Any:
        from caravan_airflow.nightly import tasks

        return tasks.train(context, tables)

    @task(
        owner="machine-learning",
        inlets=[assets.MODEL, assets.CHAMPION],
        outlets=[assets.EVALUATION],
        execution_timeout=timedelta(hours=2),
        doc_md="Ranks the whole catalogue for later days than the model saw: challenger, champion, popularity and "
        "last-item neighbours, with bootstrap intervals.",
    )
    def evaluate(model: str, **context: Any) -> Any:
        from caravan_airflow.nightly import tasks

        return tasks.evaluate(context, model)

    @task.branch(
        owner="machine-learning",
        inlets=[assets.EVALUATION],
        outlets=[assets.VERDICT],
        doc_md="Lets a challenger go on to `register`, or refuses it with the reasons: then `champion_stays` is next.",
    )
    def gate(evaluation: str, **context: Any) -> Any:
        from caravan_airflow.nightly import tasks

        return tasks.gate(context, evaluation)

    @task(
        owner="machine-learning",
        inlets=[assets.VERDICT],
        doc_md="Nothing new tonight: what serves goes on serving. The note of this task and of the run says why. "
        "A refusal is an answer, and the night is a success.",
    )
    def champion_stays(verdict: str, **context: Any) -> Any:
        from caravan_airflow.nightly import tasks

        return tasks.champion_stays(context, verdict)

    @task(
        owner="machine-learning",
        inlets=[assets.VERDICT],
        outlets=[assets.RELEASE],
        doc_md="Assembles the release, publishes it under its digest and registers one version in MLflow, "
        "alias `challenger`.",
    )
    def register(evaluation: str, **context: Any) -> Any:
        from caravan_airflow.nightly import tasks

        return tasks.register(context, evaluation)

    @task(
        owner="search-and-recommendations",
        inlets=[assets.RELEASE],
        outlets=[assets.OFFER],
        doc_md="Starts a run of `release`, which asks the reviewers: once for a digest, not in a backfill, and not "
        "when a later day serves. The region's very first release is not asked about: this waits until it serves.",
    )
    def offer(release: str, **context: Any) -> Any:
        from caravan_airflow.nightly import tasks

        return tasks.offer(context, release)

    @task(
        owner="machine-learning",
        inlets=[assets.FEATURES, assets.CHAMPION],
        outlets=[assets.DRIFT],
        doc_md="Says on the run how the night ended, and tells of a crash, of many refusals and of an old champion "
        "(`caravan alerts`). Then compares the day's features and scores with the training window of the champion that "
        "was serving: too few rows say 'not enough data', never 'drift'. Runs however the night went.",
    )
    def report(evaluation: str, release: str, **context: Any) -> Any:
        from caravan_airflow.nightly import tasks

        return tasks.report(context, evaluation, release)

    clean = validate()
    tables = features(clean)
    online = materialize(tables)
    model = train(tables)
    evaluation = evaluate(model)
    verdict = gate(evaluation)
    stays = champion_stays(verdict["made"])
    release = register(evaluation)
    offered = offer(release)
    drift = report(evaluation, release)

    online >> model
    verdict >> release
    # A teardown runs whatever became of the steps before it, and leaves the run's verdict to them: a night that
    # crashed is reported on too, and stays red.
    [offered, stays] >> drift.as_teardown()

    offered.operator.operator_extra_links = (ReleaseRunLink(),)
    for made in (model, evaluation, release):
        made.operator.operator_extra_links = (MlflowLink(),)
    drift.operator.operator_extra_links = (DriftReportLink(), MlflowLink())
