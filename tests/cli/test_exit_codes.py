"""One table of exit codes: the page, the commands and Airflow's retries follow it."""

from __future__ import annotations

import json
import re
import sys

import pytest
from airflow.sdk import RetryAction
from caravan_airflow.retries import REFUSALS_ARE_FINAL

from caravan.cli import main
from contracts import errors, exit_codes
from contracts.errors import CaravanError
from tests.conftest import REPOSITORY

PAGE = (REPOSITORY / "docs" / "exit-codes.md").read_text()


def test_the_page_has_the_tables_of_the_code() -> None:
    words = {int(code): word for code, word in re.findall(r"^\| ([0-9]) \| ([a-z ]+) \|", PAGE, re.MULTILINE)}
    assert words == exit_codes.OUTCOMES
    named = {name: int(code) for name, code in re.findall(r"^\| `(\w+)` \| ([0-9]) \|", PAGE, re.MULTILINE)}
    assert {exit_codes.code_of_name(name) for name in named} == set(named.values())
    for kind in exit_codes.tree():  # what is not named ends as the one above it
        above = next(parent.__name__ for parent in kind.__mro__ if parent.__name__ in named)
        assert exit_codes.code_of(kind) == named[above], kind


@pytest.mark.parametrize("kind", exit_codes.tree(), ids=lambda kind: kind.__name__)
def test_airflow_tries_again_what_is_a_fault_or_does_not_answer_and_nothing_else(kind: type[CaravanError]) -> None:
    tried_again = exit_codes.code_of(kind) in (exit_codes.FAULT, exit_codes.UNANSWERED)
    decision = REFUSALS_ARE_FINAL.evaluate(kind("x"), 1, 2)
    assert (decision.action is not RetryAction.FAIL) == tried_again


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.TrainingError("it fell over"), 1), (errors.SettingsError("no such day"), 2),
        (errors.Fenced("not here"), 3), (errors.IllegalMove("no way"), 3), (errors.NothingLanded("no events"), 4),
        (errors.StoreUnavailable("no answer"), 5),
    ],
)  # fmt: skip
def test_every_command_ends_with_its_errors_code(
    error: CaravanError, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    error.remedy = "do this"

    def fail() -> None:
        raise error

    monkeypatch.setattr(main, "app", fail)
    monkeypatch.setattr(sys, "argv", ["caravan", "status", "--json"])
    monkeypatch.delenv("CARAVAN_TRACE", raising=False)
    with pytest.raises(SystemExit) as exited:
        main.main()
    assert exited.value.code == code
    said = capsys.readouterr()
    assert f"error: {error.what}" in said.err
    assert json.loads(said.out) == {
        "outcome": exit_codes.OUTCOMES[code], "error": type(error).__name__, "what": error.what,
            "remedy": "do this",
    }  # fmt: skip


def test_of_several_outcomes_the_worst_is_told() -> None:
    assert exit_codes.worst([0, 4, 3, 0]) == 3
    assert exit_codes.worst([3, 5, 1]) == 1
    assert exit_codes.worst([]) == 0
    assert exit_codes.code_of_name("contracts.errors.SchemaChanged") == 3
    assert exit_codes.code_of_name("KeyError") == 1
