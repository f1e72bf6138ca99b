"""The everyday oddities that need no stack, a test each; and the command that runs all of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cases import every
from tests.cases.__main__ import main
from tests.cases.case import Case, Looks

QUICK = [case for case in every.EVERY if case.needs == "nothing"]


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("case", QUICK, ids=lambda case: f"{case.number} {case.title}")
def test_a_case_ends_as_it_should(tmp_path: Path, case: Case, seed: int) -> None:
    row = every.run(case, tmp_path, seed)
    assert row.passed, row.seen


def test_each_case_has_one_number_and_each_test_named_is_there() -> None:
    numbers = [case.number for case in every.EVERY]
    assert len(set(numbers)) == len(numbers) >= 34
    root = Path(__file__).resolve().parents[2]
    for _, _, nodes in every.by_tests.PROVEN.values():
        for node in nodes:
            path, _, name = node.partition("::")
            assert (root / path).exists(), node
            assert not name or f"def {name}" in (root / path).read_text(), node


def test_what_is_wrong_is_a_failure_with_both_values(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def wrong(looks: Looks, given: object) -> None:
        looks.equal("kept", 60, 59)

    def crashes(looks: Looks, given: object) -> None:
        raise KeyError("kept")

    def silent(looks: Looks, given: object) -> None:
        pass

    for check, words in ((wrong, "kept 59, not 60"), (crashes, "KeyError"), (silent, "")):
        row = every.run(Case("1", "a title", "what is right", "nothing", check), tmp_path, 1)
        assert not row.passed
        assert words in row.seen


def test_the_command_shows_a_table_and_json_and_ends_with_one_where_a_case_fails(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["--only", "22,26"]) == 0
    assert "2 of 2 pass" in capsys.readouterr().out
    assert main(["--only", "23", "--json", "--seed", "5"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["case"], row["passed"]) == ("23", True)
    failing = Case("22", "a title", "what is right", "nothing", lambda looks, given: looks.equal("x", 1, 2))
    monkeypatch.setattr(every, "EVERY", (failing,))
    assert main([]) == 1
    assert "not 22" in capsys.readouterr().out
    with pytest.raises(SystemExit) as wrong:
        main(["--only", "99"])
    assert wrong.value.code == 2
    with pytest.raises(SystemExit) as helped:
        main(["--help"])
    assert helped.value.code == 0
    assert "--only" in capsys.readouterr().out
