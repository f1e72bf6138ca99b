from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from caravan.cli.main import app
from contracts.errors import CaravanError, NotEnoughData

pytestmark = pytest.mark.slow  # the encoder is exported first

PRODUCTS = {
    "a": "oak desk with two drawers",
    "b": "steel desk, white",
    "c": "shower curtain, blue",
    "d": "curtain rod for a shower",
    "e": "timber writing table",
}
JUDGED = [("desk", "a", 3), ("desk", "b", 2), ("desk", "e", 1), ("showr curtain", "c", 3), ("showr curtain", "d", 2)]
JUDGED += [("lamp", "gone", 3)]


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path, Path]:
    catalog, judgments = tmp_path / "catalog.csv", tmp_path / "judgments.jsonl"
    with catalog.open("w", newline="") as out:
        csv.writer(out).writerows([("item_id", "title"), *PRODUCTS.items()])
    names = ("query", "item_id", "relevance")
    judgments.write_text("".join(json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in JUDGED))
    return catalog, judgments, tmp_path / "out" / "report.json"


@pytest.fixture
def evaluate(encoder_folder: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    """Run `caravan evaluate search` in a home that has the encoder already."""
    monkeypatch.setenv("CARAVAN_HOME", str(encoder_folder.parent.parent))

    def run(catalog: Path, judgments: Path, report: Path, *more: str) -> str:
        words = ["evaluate", "search", "--catalog", str(catalog), "--judgments", str(judgments), "--json", str(report)]
        result = CliRunner().invoke(app, [*words, *more])
        if isinstance(result.exception, CaravanError):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result.output

    return run


def test_the_report_says_how_good_each_way_is(files: tuple[Path, Path, Path], evaluate: object) -> None:
    output = evaluate(*files)  # type: ignore[operator]
    report = json.loads(files[2].read_text())
    assert report["counts"] == {"items": 5, "queries": 2, "judgments": 5, "judgments_of_unknown_items": 1}
    assert report["bm25"]["ndcg_at_10"] > 0.9
    assert report["dense"]["recall_at_10"] == 1.0  # also the table that is no desk by name
    assert report["fused"]["recall_at_10"] == 1.0
    for way in ("bm25", "dense", "fused"):
        low, high = report[way]["interval"]["ndcg_at_10"]
        assert low <= report[way]["ndcg_at_10"] <= high
        assert f"| {way} |" in output
    assert report["seconds"]["total"] > 0


def test_a_catalog_is_encoded_once(files: tuple[Path, Path, Path], evaluate: object) -> None:
    evaluate(*files)  # type: ignore[operator]
    first = json.loads(files[2].read_text())
    evaluate(*files, "--limit-queries", "1")  # type: ignore[operator]
    second = json.loads(files[2].read_text())
    assert second["catalog_vectors_remembered"]
    assert (first["counts"]["queries"], second["counts"]["queries"]) == (2, 1)


def test_judgments_of_another_catalog_are_refused(files: tuple[Path, Path, Path], evaluate: object) -> None:
    files[1].write_text(json.dumps({"query": "desk", "item_id": "other", "relevance": 1}) + "\n")
    with pytest.raises(NotEnoughData, match="same item_id"):
        evaluate(*files)  # type: ignore[operator]
