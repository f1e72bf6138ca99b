"""Reports drift: a day's features and scores against the training window of the champion that was serving.

Evidently does the statistics and draws the page. Two things are added here: a column with too few values gets "not
enough data" and never a verdict, and the same inputs give the same bytes.
"""

from __future__ import annotations

import json
import logging
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from artifacts.histograms import clip_extremes, finite_values, numeric_columns, read_distributions
from artifacts.lake import DATA, Lake, write_table
from artifacts.publish import fetch
from contracts import release as files
from contracts.settings import Settings
from monitoring.scores import score_champion

if TYPE_CHECKING:
    from artifacts.manifest import Manifest

log = logging.getLogger(__name__)

DRIFT_TABLE = "drift"
#: The table whose numbers are watched, where the reference has a column of that name.
WATCHED_TABLE = "shopper_activity"
#: Values that either side of a column must have before a verdict.
MIN_VALUES = 100
#: Rows compared at most; more are thinned evenly, so that one night's report takes seconds.
MAX_ROWS = 20_000
#: Share of columns that must have drifted before the day counts as drifted.
DRIFT_SHARE = 0.5

#: Names that Evidently makes at random: of a report, and of a widget (UUID of version 7).
_RANDOM_NAMES = re.compile(
    r"(?P<kind>metric_)[0-9a-f]{32}|[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}"
)
REPORT_HTML, REPORT_JSON = "report.html", "report.json"
DriftVerdict = Literal["drift", "no drift", "not enough data"]

SUMMARY = pa.schema(
    [
        pa.field("column", pa.string(), nullable=False),
        pa.field("part", pa.string(), nullable=False),  # features or scores
        pa.field("verdict", pa.string(), nullable=False),
        pa.field("method", pa.string()),
        pa.field("value", pa.float64()),  # p value or distance, as the method says
        pa.field("threshold", pa.float64()),
        pa.field("reference_values", pa.int64(), nullable=False),
        pa.field("current_values", pa.int64(), nullable=False),
    ]
)


@dataclass(frozen=True, kw_only=True)
class Drift:
    """The result of a day's report, and the address of its page."""

    digest: str
    verdict: DriftVerdict
    drifted: list[str]
    judged: int
    unjudged: list[str]
    page: str = ""

    def __str__(self) -> str:
        if not self.judged:
            few = ", ".join(self.unjudged) or "the two have no column of numbers in common"
            return f"{self.verdict}: no column has {MIN_VALUES} values on both sides ({few})"
        text = f"{self.verdict}: {len(self.drifted)} of {self.judged} columns drifted"
        if self.drifted:
            text += f" ({', '.join(self.drifted)})"
        if self.unjudged:
            text += f"; not enough data for {', '.join(self.unjudged)}"
        return text


def report_drift(s: Settings, source: str, day: str, reference: str, *, run_id: str | None = None) -> Drift:
    """Compare `day` with the training window of the release `reference`; publish HTML, JSON and a summary.

    They are in the lake as `drift/<day>` and, with `run_id`, artifacts of that MLflow run. Running it again on the
    same inputs writes nothing. Raises NotFound when the day has no features or the release does not exist.
    """
    lake = Lake.of(s, source)
    meta = {
        "reference": reference,
        "features": {table: lake.digest(table, day) for table in (WATCHED_TABLE, "shopper_sequence")},
    }
    published = lake.digest(DRIFT_TABLE, day)
    if published is None or not _has_meta(lake.manifest(DRIFT_TABLE, day), meta):
        bundle = fetch(lake.store, reference, s.cache / "objects")
        activity = _read(lake.fetch(WATCHED_TABLE, day) / DATA)
        scores = score_champion(bundle, lake.fetch("shopper_sequence", day) / DATA)
        parts = {
            "features": (activity, read_distributions(bundle / files.REFERENCE_FEATURES)),
            "scores": (scores, read_distributions(bundle / files.REFERENCE_SCORES)),
        }
        with tempfile.TemporaryDirectory(prefix="caravan-drift-") as folder:
            compare(parts, Path(folder))
            lake.publish(DRIFT_TABLE, day, Path(folder), meta)
    else:
        log.info("the same inputs were compared before; nothing to do")
    manifest = lake.manifest(DRIFT_TABLE, day)
    directory = lake.fetch(DRIFT_TABLE, day)
    page = _attach(s, run_id, day, directory, manifest.digest) if run_id else ""
    return summarize_drift(_read(directory / DATA), digest=manifest.digest, page=page)


def compare(parts: dict[str, tuple[pa.Table, pa.Table]], out: Path) -> pa.Table:
    """Compare (current, reference) tables by the name of their part; write the three files into `out`.

    Columns of the same name are compared when they are numbers. Returns the table SUMMARY, one row per column.
    """
    rows: list[dict[str, Any]] = []
    enough: dict[str, tuple[pa.Array, pa.Array]] = {}
    for part, (current, reference) in sorted(parts.items()):
        for name in sorted(set(numeric_columns(current)) & set(numeric_columns(reference))):
            now, before = _thinned(current[name]), _thinned(reference[name])
            judged = min(len(now), len(before)) >= MIN_VALUES
            rows.append(
                {
                    "column": name, "part": part, "verdict": "no drift" if judged else "not enough data",
                    "reference_values": len(before), "current_values": len(now),
                }
            )  # fmt: skip
            if judged:
                enough[name] = (now, before)
    html, document = _run_evidently(enough) if enough else _nothing_to_compare(rows)
    for row in rows:
        if row["column"] in enough:
            row |= _judge_column(document, row["column"])
    summary = pa.Table.from_pylist(rows, schema=SUMMARY)
    write_table(summary, out / DATA)
    (out / REPORT_HTML).write_text(html)
    document["summary"] = summary.to_pylist()
    document["not_enough_data"] = [row["column"] for row in rows if row["verdict"] == "not enough data"]
    (out / REPORT_JSON).write_text(json.dumps(document, indent=1, sort_keys=True, allow_nan=False, default=float))
    return summary


def summarize_drift(summary: pa.Table, *, digest: str, page: str = "") -> Drift:
    """Make the day's verdict from its table: drift when at least DRIFT_SHARE of the judged columns drifted."""
    rows = summary.to_pylist()
    judged = [row for row in rows if row["verdict"] != "not enough data"]
    drifted = [row["column"] for row in judged if row["verdict"] == "drift"]
    verdict: DriftVerdict = "not enough data"
    if judged:
        verdict = "drift" if len(drifted) >= DRIFT_SHARE * len(judged) else "no drift"
    unjudged = [row["column"] for row in rows if row["verdict"] == "not enough data"]
    return Drift(digest=digest, verdict=verdict, drifted=drifted, judged=len(judged), unjudged=unjudged, page=page)


def _run_evidently(columns: dict[str, tuple[pa.Array, pa.Array]]) -> tuple[str, dict[str, Any]]:
    """Make one Evidently report; return its page and its document."""
    import os

    os.environ["DO_NOT_TRACK"] = "1"
    import pandas as pd
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    definition = DataDefinition(numerical_columns=list(columns))
    # columns may differ in length: Evidently drops the missing values of each column by itself
    current, reference = (
        Dataset.from_pandas(
            pd.DataFrame(
                {name: pd.Series(pair[side].to_numpy(zero_copy_only=False)) for name, pair in columns.items()}
            ),
            data_definition=definition,
        )
        for side in (0, 1)
    )
    snapshot = Report([DataDriftPreset(drift_share=DRIFT_SHARE)]).run(current, reference)
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / REPORT_HTML
        snapshot.save_html(str(page))
        return _stabilize_page(page.read_text()), dict(snapshot.dict())


def _stabilize_page(html: str) -> str:
    """Replace the page's random element names by numbers in order of appearance, so that its bytes repeat."""
    names: dict[str, str] = {}

    def number(match: re.Match[str]) -> str:
        return names.setdefault(match[0], f"{match['kind'] or ''}{len(names):032x}")

    return _RANDOM_NAMES.sub(number, html)


def _nothing_to_compare(rows: list[dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    columns = "; ".join(
        f"{row['column']}: {row['reference_values']} before, {row['current_values']} on the day" for row in rows
    )
    page = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Drift</title>'
        f"<h1>Not enough data</h1><p>A verdict needs {MIN_VALUES} values on both sides, and no column has them. "
        f"{columns or 'The day and the reference have no column of numbers in common'}.</p></html>\n"
    )
    return page, {"metrics": [], "tests": []}


def _judge_column(document: dict[str, Any], column: str) -> dict[str, Any]:
    """Judge a column: method, value, threshold, verdict. A p value drifts below its threshold, a distance above."""
    metric = next(
        m
        for m in document["metrics"]
        if m["config"].get("type", "").endswith(":ValueDrift") and m["config"]["column"] == column
    )
    method, threshold, value = metric["config"]["method"], float(metric["config"]["threshold"]), float(metric["value"])
    drifted = value < threshold if "p_value" in method else value >= threshold
    return {"method": method, "threshold": threshold, "value": value, "verdict": "drift" if drifted else "no drift"}


def _thinned(column: pa.ChunkedArray) -> pa.Array:
    """Return the finite values of a column as float64, at most MAX_ROWS, evenly thinned in their order.

    Extremes are clipped as the reference's are, so that one shopper of the day is no drift.
    """
    values = finite_values(column)
    if len(values) > MAX_ROWS:
        values = values.take(pa.array([i * len(values) // MAX_ROWS for i in range(MAX_ROWS)]))
    return pa.array(clip_extremes(values.to_numpy(zero_copy_only=False)))


def _read(path: Path) -> pa.Table:
    return pq.read_table(path)


def _has_meta(manifest: Manifest, meta: dict[str, Any]) -> bool:
    return all(manifest.meta.get(name) == value for name, value in meta.items())


def _attach(s: Settings, run_id: str, day: str, directory: Path, digest: str) -> str:
    """Attach the report to the MLflow run, once; return the address of its page."""
    from artifacts.registry import mlflow_client, mlflow_page

    client = mlflow_client(s)
    run = client.get_run(run_id)
    if run.data.tags.get("caravan.drift") != digest:
        for name in (REPORT_HTML, REPORT_JSON):
            client.log_artifact(run_id, str(directory / name), f"drift/{day}")
        client.set_tag(run_id, "caravan.drift", digest)
    return mlflow_page(s, f"experiments/{run.info.experiment_id}/runs/{run_id}/artifacts/drift/{day}/{REPORT_HTML}")
