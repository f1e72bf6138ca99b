"""Makes a release of a gated evaluation: one directory with all that serving needs, under its digest, and signed."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from artifacts import plain_data
from artifacts.histograms import write_histograms
from artifacts.lake import DATA, Lake
from artifacts.manifest import Manifest
from artifacts.publish import fetch, point, publish, read_manifest, resolve
from artifacts.signature import sign
from contracts import release as files
from contracts.errors import GateRefused
from contracts.settings import Settings
from retrieval.bm25 import BM25Index
from training.data import inputs
from training.data.datasets import sampled
from training.data.inputs import Inputs
from training.data.popularity import popularity
from training.data.texts import item_texts
from training.fitting.train import INPUTS
from training.gate import decide
from training.jobs import job
from training.recipes import Recipe
from training.search_check import check_search

#: Items in each list of what is popular.
POPULAR_LENGTH = 200
#: Rows of shopper activity that drift is measured against.
REFERENCE_ROWS = 20_000
#: Feature tables that serving reads online, with the age in days at which a row stops being fresh.
VIEWS = {"shopper_activity": 3.0, "shopper_affinity": 3.0, "shopper_sequence": 3.0}
#: Rises when the same evaluation would give another bundle.
FORMAT = 4


def assemble(s: Settings, source: str, evaluation_digest: str) -> str:
    """Make the release of an evaluation, once, and return its digest. Raises GateRefused for one not good enough."""
    lake = Lake.of(s, source)
    ref = f"bundles/{source}/{FORMAT}-{evaluation_digest}"
    done = resolve(lake.store, ref)
    if done is not None:
        return done
    evaluated = fetch(lake.store, evaluation_digest, s.cache / "objects")
    about = read_manifest(lake.store, evaluation_digest).meta
    report = json.loads((evaluated / files.EVALUATION).read_text())
    decision = decide(report, evaluation_digest, margin=s.gate_margin)
    if not decision.passed:
        raise GateRefused(
            f"an evaluation of {source} that the gate refuses cannot become a release: {' '.join(decision.reasons)}",
            remedy="train again, on other data or with another recipe",
        )
    made_from = json.loads((evaluated / INPUTS).read_text())
    recipe = Recipe.from_dict(made_from["recipe"])
    read = inputs.read_inputs(lake, made_from["day"], recipe, inputs.Partitions.from_dict(made_from["partitions"]))
    with tempfile.TemporaryDirectory(prefix="caravan-release-") as name:
        out = Path(name)
        shutil.copytree(evaluated, out, dirs_exist_ok=True, ignore=shutil.ignore_patterns(INPUTS))
        texts = item_texts(read.items)
        BM25Index.build(texts).save(out / files.BM25)
        _text_side(s, read, out)
        search = check_search(out, texts, meaning=read.words, seed=recipe.seed)
        if not search.passed:
            raise GateRefused(
                search.sentence, remedy="build the release again, from the catalog that it was trained on"
            )
        decision = replace(decision, checks=(*decision.checks, search))
        (out / files.GATE).write_bytes(job.to_json(decision.to_dict()))
        _write(out / files.POPULAR, popular(read))
        _write(out / files.FEATURES, _features(lake, made_from["day"]))
        _reference_features(lake, made_from, out)
        _write(out / files.LINEAGE, _lineage(made_from, about, evaluation_digest))
        meta = {
            "source": source,
            "day": about["day"],
            "recipe": about["recipe"],
            "run_id": about["run_id"],
            "metrics": about["metrics"],
            "evaluation": evaluation_digest,
            "model": about["model"],
            "champion": about["champion"],
        }
        plain_data.check(Manifest.describe(out, kind="release", meta=meta), out)
        digest = publish(lake.store, out, kind="release", meta=meta).digest
    sign(lake.store, digest, s)
    point(lake.store, ref, digest)
    return digest


def popular(read: Inputs) -> dict[str, list[str]]:
    """List item ids by recent popularity, best first: of all items, and of each category (every level of its path)."""
    weights = popularity(read.known, read.item_count)
    order = np.lexsort((np.arange(read.item_count), -weights))
    order = order[read.available[order]]
    ids, categories = read.items["item_id"].to_pylist(), read.items["category"].to_pylist()
    lists: dict[str, list[str]] = {"all": [ids[i] for i in order[:POPULAR_LENGTH]]}
    for i in order.tolist():
        parts = (categories[i] or "").split("/") if categories[i] else []
        for depth in range(1, len(parts) + 1):
            category = "/".join(parts[:depth])
            if category != "all":
                found = lists.setdefault(category, [])
                if len(found) < POPULAR_LENGTH:
                    found.append(ids[i])
    return lists


def commit() -> str:
    """Return the commit of the code that runs, or "unknown" outside of a checkout."""
    found = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=Path(__file__).resolve().parent, capture_output=True, text=True, check=False
    )
    return found.stdout.strip() if found.returncode == 0 else "unknown"


def _text_side(s: Settings, read: Inputs, out: Path) -> None:
    """Write the text vectors of all items and the encoder of queries, for dense search."""
    from training.models.text import encoder_directory

    folder = encoder_directory(s)
    vectors = read.all_text
    if vectors is None:
        from retrieval.encoder import TextEncoder

        vectors = TextEncoder.load(folder).encode(item_texts(read.items))
    path = out / files.ITEM_TEXT_VECTORS
    path.unlink(missing_ok=True)
    np.save(path, _finite(vectors), allow_pickle=False)
    shutil.copytree(folder, out / files.ENCODER)


def _finite(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return np.nan_to_num(np.ascontiguousarray(vectors, dtype=np.float32))


def _features(lake: Lake, day: str) -> dict[str, Any]:
    """Describe the feature views that the engine reads: their columns, and how old they may be."""
    views = {}
    for table, days in VIEWS.items():
        if lake.digest(table, day) is None:
            continue
        schema = pq.read_schema(lake.fetch(table, day) / DATA)
        columns = {f.name: str(f.type) for f in schema if f.name not in ("user_id", "event_timestamp", "created")}
        views[table] = {"columns": columns, "age_limit_seconds": days * 86400}
    return {"service": "recommendation", "views": views}


def _reference_features(lake: Lake, made_from: dict[str, Any], out: Path) -> None:
    """Write shopper activity as it stood when the training window ended, against which drift is measured.

    As counts per bin: a release is signed and never changed, so no shopper could be erased from it.
    """
    first_held_out = made_from["held_out"][0]
    table = "shopper_activity"
    days = [d for d in lake.partitions(table) if d <= made_from["day"]]
    before = [d for d in days if d < first_held_out]
    rows = pq.read_table(lake.fetch(table, (before or days)[-1]) / DATA) if days else pa.table({})
    rows = rows.take(pa.array(sampled(len(rows), REFERENCE_ROWS, 0))) if len(rows) else rows
    write_histograms(rows, out / files.REFERENCE_FEATURES)


def _lineage(made_from: dict[str, Any], about: dict[str, Any], evaluation: str) -> dict[str, Any]:
    return {
        "commit": commit(),
        "source": made_from["source"],
        "day": made_from["day"],
        "partitions": made_from["partitions"],
        "cutoff_us": made_from["cutoff_us"],
        "held_out": made_from["held_out"],
        "recipe": made_from["recipe"],
        "training_key": made_from["key"],
        "start_from": made_from.get("start_from"),
        "full_training_day": made_from.get("full_training_day", made_from["day"]),
        "training_run": about["run_id"],
        "model": about["model"],
        "evaluation": evaluation,
        "champion": about["champion"],
        "anchors": about.get("anchors", []),
    }


def _write(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(job.to_json(value))
