"""An error that crosses a process keeps its class, what happened and what to do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.error_record import ErrorRecord
from contracts.errors import CaravanError
from contracts.exit_codes import code_of, tree


@given(kind=st.sampled_from(tree()), what=st.text(), remedy=st.text())
def test_every_error_of_ours_arrives_as_it_was(kind: type[CaravanError], what: str, remedy: str) -> None:
    record = ErrorRecord.from_json(ErrorRecord.of(kind(what, remedy=remedy)).to_json())
    assert record is not None
    arrived = record.raised()
    assert (type(arrived), arrived.what, arrived.remedy) == (kind, what, remedy)
    assert record.code == code_of(kind)


@pytest.mark.parametrize("text", [None, "", "error: no", "[]", '{"error": "NotFound"}', "3"])
def test_anything_else_is_no_record(text: object) -> None:
    assert ErrorRecord.from_json(text) is None


def test_the_error_of_a_library_is_a_fault_by_its_name() -> None:
    record = ErrorRecord.of(KeyError("x"))
    assert (record.error, record.code, type(record.raised())) == ("KeyError", 1, CaravanError)
