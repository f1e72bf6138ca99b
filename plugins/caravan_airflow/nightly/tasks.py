"""Runs the steps of the nightly chain: each wires rooms together for one day of one source, and says what it did.

Plain functions of a Run (`features.__wrapped__(run, ...)`), callable and tested without Airflow. Imports of the
rooms are inside, so that a task process loads only what it uses. What they return are identifiers.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from caravan_airflow.active import here
from caravan_airflow.step import NothingToDo, Outcome, Run, step

if TYPE_CHECKING:
    from collections.abc import Mapping

    from artifacts.manifest import Manifest
    from artifacts.object_store import ObjectStore

log = logging.getLogger(__name__)


@step
def validate(run: Run) -> Outcome:
    """Make clean partitions of landed events and catalog; digests of both."""
    from artifacts.lake import Lake
    from contracts.errors import NothingLanded
    from ingestion.validation.validate import validate_day

    s = here()
    lake = Lake.of(s, run.source)
    if not lake.partitions("landing-events") and not lake.partitions("landing-catalog"):
        raise NothingToDo(
            f"nothing has landed for {run.source} yet", remedy="bring the first events with `caravan ingest`"
        )
    try:
        report = validate_day(lake, run.day, event_log=s.paths.event_log)
    except NothingLanded as error:
        raise NothingToDo(error.what, remedy=error.remedy) from None
    log.info("%s", report)
    digests = {table: lake.manifest(table, run.day).digest for table in ("events", "catalog")}
    return Outcome(made=digests)


@step
def features(run: Run, clean: dict[str, str]) -> Outcome:
    """Build the feature tables of the day from clean events; digest of each by its name."""
    from artifacts.lake import Lake
    from feature_repo.tables import build
    from retrieval.encoder import TextEncoder
    from training.models.text import encoder_directory

    s = here()
    log.info("reads events %s and catalog %s", clean["events"][:12], clean["catalog"][:12])
    encoder = TextEncoder.load(encoder_directory(s))
    built = build(Lake.of(s, run.source), run.day, engine=s.feature_engine, encode=encoder.encode)
    for table, manifest in built.items():
        meta = manifest.meta
        log.info(
            "%s %s: %s rows, %d bytes, from %s",
            table, manifest.digest[:12], meta.get("rows"), manifest.size, _inputs(meta.get("inputs", {})),
        )  # fmt: skip
    return Outcome(made={table: manifest.digest for table, manifest in built.items()})


@step
def materialize(run: Run, tables: dict[str, str]) -> Outcome:
    """Load feature tables into the online store, up to the end of the day and not beyond; the tables' digests again."""
    from feature_repo import store

    report = store.materialize(here(), run.source, run.day)
    for view, done in report.views.items():
        log.info("%s: %d rows of %s %s", view, done.rows, done.day, done.outcome)
    log.info("online up to %s, %.1f s", report.end, report.seconds)
    return Outcome(made=tables)


@step
def train(run: Run, tables: dict[str, str]) -> Outcome:
    """Train a model on features and events, through torchrun in a child process; its digest.

    Whom it will meet, and whether it starts from the champion, is chosen here once and remembered.
    """
    from training.evaluation import rivals
    from training.fitting.train import train as train_model

    s = here()
    log.info("reads %s", ", ".join(f"{table} {digest[:12]}" for table, digest in sorted(tables.items())))
    start_from = rivals.choose(s, run.source, run.day, run.recipe).start_from
    log.info("starts from %s", f"the weights of champion {start_from[:12]}" if start_from else "nothing")
    model = train_model(s, run.source, run.day, run.recipe, start_from=start_from)
    about = _manifest(model)
    held_out, ndcg = ", ".join(about.meta["held_out"]), about.meta["validation_ndcg_at_10"]
    log.info("model %s: %d bytes, validation NDCG@10 %.4f, held out: %s", model[:12], about.size, ndcg, held_out)
    return Outcome(made=model, links={"mlflow": _run_page(about.meta)})


@step
def evaluate(run: Run, model: str) -> Outcome:
    """Compare the challenger with the champion on the same later days; digest of the evaluation.

    The rivals were chosen before training: running the day again, after other releases have become champion, repeats
    this comparison instead of making another one.
    """
    from artifacts.publish import point, resolve
    from training.evaluation import rivals
    from training.evaluation.activity import activity
    from training.evaluation.evaluate import evaluate as evaluate_model

    s = here()
    store, remembered = _store(), f"evaluations/{run.source}/{model}"
    evaluation = resolve(store, remembered)
    if evaluation is None:
        met = rivals.choose(s, run.source, run.day, run.recipe)
        champion = f"champion {met.champion[:12]}" if met.champion else "no champion that it may be compared with"
        log.info("challenger %s meets %s; champions asked, former ones too: %d", model[:12], champion, len(met.anchors))
        evaluation = evaluate_model(
            s, run.source, model, met.champion, anchors=met.anchors, activity=activity(s, run.source)
        )
        point(store, remembered, evaluation, expected=None)
    else:
        log.info("model %s was evaluated before; nothing to do", model[:12])
    about = _manifest(evaluation).meta
    log.info("evaluation %s on %s", evaluation[:12], ", ".join(about["held_out"]))
    for name, value in sorted(about["metrics"].items()):
        log.info("  %-40s %.4f", name, value)
    return Outcome(made=evaluation, links={"mlflow": _run_page(about)})


@step
def gate(run: Run, evaluation: str) -> Outcome:
    """Decide whether the challenger becomes a release; digest of the verdict, and the task that comes next."""
    from artifacts.lake import Lake
    from monitoring import nights
    from training.gate import gate as decide

    s = here()
    decision = decide(s, run.source, evaluation)
    says = str(decision)
    reasons, night = " ".join(decision.reasons) or says, run.kind != "backfill"
    verdict = nights.keep_verdict(Lake.of(s, run.source), run.day, decision.to_dict(), reasons, night=night)
    about = {"evaluation": evaluation, "passed": decision.passed, "verdict": says}
    return Outcome(made=verdict, says=says, about=about, next="register" if decision.passed else "champion_stays")


@step
def champion_stays(run: Run, verdict: str) -> Outcome:
    """Say that the gate refused, and what serves; return the verdict's digest again."""
    from artifacts.ledger import Ledger
    from caravan_airflow.nightly import night_ending
    from monitoring import nights
    from releases.served_shop import find_served

    s = here()
    refused = nights.read_verdict(_store(), verdict)
    return Outcome(made=verdict, says=night_ending.nothing_new(run.source, find_served(Ledger.of(s)), refused.says))


@step
def register(run: Run, evaluation: str) -> Outcome:
    """Publish and register the release of an evaluation once, alias `challenger` when it is the newest."""
    from artifacts.fence import Fence
    from artifacts.ledger import Ledger
    from artifacts.registry import Registry, mlflow_page, model_name
    from releases import registration
    from releases.model import registered
    from training.bundle import assemble

    s = here()
    Fence(s).demand()  # MLflow's database has no fence of its own
    release = assemble(s, run.source, evaluation)
    about = _manifest(release)
    registry = Registry.of(s)
    tags = {"caravan.day": run.day, "caravan.recipe": run.recipe}
    version = registered.register(registry, _store(), run.source, release, tags=tags)
    registration.gated(
        Ledger.of(s), run.source, release, version=version, evidence=about.meta.get("metrics", {}), author=run.author,
        decision=_gate_of(release), policy=run.rollout,
    )  # fmt: skip
    challenger = registry.alias(run.source, "challenger")
    if challenger is None or challenger.number < version:
        registry.set_alias(run.source, "challenger", version)
    log.info("release %s (%d bytes, %d files) is version %d", release[:12], about.size, len(about.files), version)
    page = mlflow_page(s, f"models/{model_name(run.source)}/versions/{version}")
    return Outcome(made=release, links={"mlflow": page})


@step
def offer(run: Run, release: str) -> Outcome:
    """Start the region's first release, ask people about every later one; return the release's digest."""
    from artifacts.ledger import Ledger
    from caravan_airflow.nightly import offering
    from caravan_airflow.service import Service
    from releases import first_release

    s = here()
    ledger = Ledger.of(s)
    page = f"{s.airflow_address}/dags/release/runs/{offering.run_name(run.source, release)}"
    if first_release.approve_first(ledger, run.source, release, shop=s.shop):
        first_release.await_first(ledger, run.source, release, lambda: first_release.engine_readiness(s))
        says = f"release {release[:12]} is champion; shoppers reach it at {s.edge_address}"
        return Outcome(made=release, says=says)
    if (reason := offering.why_not(run, ledger, release, _day, shop=s.shop)) is not None:
        return Outcome(made=release, says=f"release {release[:12]}; nobody is asked: {reason}")
    with Service.of(s) as service:
        asked = offering.ask_people(service, run, release)
    says = f"reviewers {'are' if asked else 'were already'} asked about release {release[:12]}"
    return Outcome(made=release, links={"release": page}, says=says)


def report(context: Mapping[str, Any], evaluation: str | None, release: str | None) -> Any:
    """Say how the night ended, on its run and as alerts; then measure the drift of the day."""
    from caravan_airflow.nightly import night_ending

    night_ending.end(context)
    return drift(context, evaluation, release)


@step
def drift(run: Run, evaluation: str | None, release: str | None) -> Outcome:
    """Measure drift of the day's features and scores against the champion that was serving; digest of the report.

    Without an earlier champion (the first release of a source) the reference is the release's own window.
    """
    from artifacts.lake import Lake
    from monitoring.drift import report_drift

    s = here()
    lake = Lake.of(s, run.source)
    met = _manifest(evaluation).meta.get("champion") if evaluation else None
    reference = met or release
    if lake.digest("shopper_activity", run.day) is None or reference is None:
        raise NothingToDo("there are no features of this day, or no release to compare them with")
    run_id = str(_manifest(evaluation).meta["run_id"]) if evaluation else None
    found = report_drift(s, run.source, run.day, reference, run_id=run_id)
    log.info("%s", found)
    links = {"report": found.page, "mlflow": _run_page({"run_id": run_id})} if run_id else {}
    return Outcome(made=found.digest, links=links)


def _store() -> ObjectStore:
    from artifacts.object_store import ObjectStore

    return ObjectStore.of(here())


def _manifest(digest: str) -> Manifest:
    from artifacts.publish import read_manifest

    return read_manifest(_store(), digest)


def _gate_of(release: str) -> dict[str, Any]:
    """Return what the gate found of a release, as the release itself has it."""
    import json

    from artifacts.publish import read_file
    from contracts.release import GATE

    return dict(json.loads(read_file(_store(), _manifest(release), GATE) or b"{}"))


def _inputs(inputs: dict[str, Any]) -> str:
    """Write what a table was made from, without its digests."""
    return ", ".join(f"{name} {value}" for name, value in inputs.items() if not name.endswith("_digest"))


def _day(release: str) -> str:
    return str(_manifest(release).meta["day"])


def _run_page(meta: dict[str, Any]) -> str:
    """Return the MLflow page of the training run that `meta` names."""
    s = here()
    from artifacts.registry import mlflow_client, mlflow_page

    run_id = str(meta["run_id"])
    experiment = mlflow_client(s).get_run(run_id).info.experiment_id
    return mlflow_page(s, f"experiments/{experiment}/runs/{run_id}")
