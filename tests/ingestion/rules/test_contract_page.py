"""docs/data-contract.md says what the schemas enforce."""

from __future__ import annotations

import re

import pytest

from ingestion.rules.schema import SCHEMAS
from ingestion.sources import names
from tests.conftest import REPOSITORY

PAGE = (REPOSITORY / "docs" / "data-contract.md").read_text()
TITLES = {"events": "Events", "catalog": "Catalog", "judgments": "Relevance judgments"}
TYPES = {
    "string": "text",
    "timestamp[us, tz=UTC]": "time",
    "int32": "whole number",
    "double": "number",
    "bool": "true or false",
}


def tables(title: str) -> list[list[list[str]]]:
    section = PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]
    return [
        [[cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines()[2:]]
        for block in re.findall(r"(?:^\|.*\n)+", section, re.M)
    ]


@pytest.mark.parametrize("name", SCHEMAS)
def test_columns_and_reasons_are_documented(name: str) -> None:
    schema = SCHEMAS[name]
    columns, reasons = tables(TITLES[name])
    assert [(c[0].strip("`"), c[1], c[2] == "yes") for c in columns] == [
        (f.name, TYPES[str(f.type)], f.name in schema.required) for f in schema.arrow
    ]
    assert {r[0].strip("`"): r[1] for r in reasons} == schema.reasons


def test_every_adapter_is_documented() -> None:
    assert {row[0].strip("`") for row in tables("Public data sets")[0]} == set(names())
