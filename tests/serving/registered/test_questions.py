"""A row is one question to the engine: what it leaves out is the engine's default, what is wrong is named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from contracts.errors import DataError
from serving.bundle.release import Release
from serving.pipeline.schemas import RecommendRequest
from serving.registered.questions import COLUMNS, read_questions, signature
from tests.serving.tiny_release import item_id


def asked(*rows: dict[str, Any]) -> list[Any]:
    return read_questions(pd.DataFrame(list(rows)).to_dict("records"))


def test_what_a_row_leaves_out_is_the_engines_default() -> None:
    (question,) = asked({"history": ["a"]})
    assert question.request == RecommendRequest(user_id="nobody")
    assert (question.history, question.purchased) == (["a"], [])


def test_rows_of_one_table_may_leave_out_different_columns() -> None:
    first, second, third = asked(
        {"history": ["a"], "k": 3, "exclude": ["x"], "hide_seen": True},
        {"history": np.array(["b"]), "category": "tea", "hide_purchased": False, "max_per_category": 2},
        {"history": [], "k": pd.NA, "exclude": None},
    )
    assert (first.request.k, first.request.exclude, first.request.hide_seen) == (3, ["x"], True)
    assert (second.request.k, second.request.context.category, second.request.hide_purchased) == (10, "tea", False)
    assert second.request.max_per_category == 2
    assert (third.history, third.request.k) == ([], 10)


def test_purchased_items_are_hidden_unless_the_row_says_otherwise(release: Release) -> None:
    bought = item_id(1)
    (question,) = asked({"history": [item_id(0), bought], "purchased": [bought, "unknown"]})
    query = question.to_query(release)
    assert query.purchased.tolist() == [1]
    assert query.history.tolist() == [0, 1]
    assert query.hide_purchased


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"k": 3}, "history"),
        ({"history": "i-1"}, "history"),
        ({"history": [1]}, "history.0"),
        ({"history": ["a"], "k": 0}, "k"),
        ({"history": ["a"], "k": 1000}, "k"),
        ({"history": ["a"], "k": 2.5}, "k"),
        ({"history": ["a"], "exclude": "b"}, "exclude"),
        ({"history": ["a"], "hide_seen": "perhaps"}, "hide_seen"),
        ({"history": ["a"], "kk": 3}, "kk"),
    ],
)
def test_a_wrong_row_is_named_with_its_column(row: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=said) as refused:
        read_questions([{"history": ["fine"]}, row])
    assert "row 1" in refused.value.what
    assert refused.value.remedy


def test_the_signature_names_every_column_and_demands_the_history_alone() -> None:
    said = signature()
    assert tuple(said.inputs.input_names()) == COLUMNS
    assert said.inputs.required_input_names() == ["history"]
    assert said.outputs.input_names() == ["items", "fallback"]
