"""What the recovery DAGs call: the steps the command has, and its errors as people should see them."""

from __future__ import annotations

import stat
import sys
from pathlib import Path
from typing import Any

import pytest
from caravan_airflow.recovery import commands, tasks

from caravan.cli.console.ending import tell
from contracts.errors import CaravanError, ChainBroken, RestoreRefused, SettingsError, StackError
from contracts.exit_codes import code_of, final
from recovery.drills import faults
from recovery.failback import failback
from recovery.restore.steps import STEPS


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Puts a program in the place of `caravan`."""
    interpreter = sys.executable

    def put(body: str) -> None:
        path = tmp_path / "caravan"
        path.write_text(f"#!{interpreter}\nimport sys\n{body}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    monkeypatch.setattr(commands.sys, "executable", str(tmp_path / "python"))
    return put


def test_the_tasks_are_the_steps_of_the_command() -> None:
    assert tuple(STEPS) == tasks.STEPS
    assert tuple(failback.STEPS) == tasks.FAILBACK


def test_the_form_offers_every_fault() -> None:
    from caravan_airflow.ui.forms import rehearsal_params

    assert rehearsal_params()["fault"].schema["enum"] == list(faults.FAULTS)


def test_what_the_command_prints_is_returned_and_its_progress_logged(
    command: Any, caplog: pytest.LogCaptureFixture
) -> None:
    command("print('database done', file=sys.stderr); print('{\"steps\": 3}')")
    with caplog.at_level("INFO"):
        assert commands.caravan("recover") == {"steps": 3}
    assert "database done" in caplog.text


def test_an_error_keeps_its_class_and_its_remedy(command: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """As the command itself prints it: a refused recovery must not be tried four times."""
    for error in (RestoreRefused("no keys", remedy="bring them"), ChainBroken("a row was changed"), StackError("down")):
        code = tell(error, as_json=True)
        printed = capsys.readouterr()
        command(f"print({printed.out!r}); print({printed.err!r}, file=sys.stderr); sys.exit({code})")
        with pytest.raises(type(error)) as raised:
            commands.caravan("recover")
        assert type(raised.value) is type(error)
        assert (raised.value.what, raised.value.remedy) == (error.what, error.remedy)


@pytest.mark.parametrize("code", [1, 2, 3, 4, 5, 77])
def test_a_command_that_could_not_say_more_keeps_its_exit_code(command: Any, code: int) -> None:
    command(f"print('killed', file=sys.stderr); sys.exit({code})")
    with pytest.raises(CaravanError, match=f"caravan recover ended with {code}") as raised:
        commands.caravan("recover")
    assert code_of(type(raised.value)) == (code if code <= 5 else 1)


def test_a_real_command_that_refuses_is_final(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CARAVAN_HOME", str(tmp_path))
    with pytest.raises(SettingsError, match="there is no region moon") as raised:
        commands.caravan("recover", "--region", "moon", "--reason", "a test")
    assert type(raised.value) in final()


class Answers:
    """Airflow's record of who answered."""

    def __init__(self, *names: str | None, chosen: str = "Approve") -> None:
        self.names, self.chosen = dict(zip(tasks.CONFIRMATIONS, names, strict=True)), chosen

    def __enter__(self) -> Answers:
        return self

    def __exit__(self, *_: object) -> None: ...

    def request(self, run: str, task: str, dag: str) -> dict[str, Any]:
        name = self.names[task]
        return {"responded_by_user": {"name": name} if name else None, "chosen_options": [self.chosen]}


class Instance:
    run_id, dag_id = "a-run", "recover"


@pytest.mark.parametrize(
    "answers", [Answers("anna", "anna"), Answers("anna", None), Answers("anna", "berta", chosen="Reject")]
)
def test_less_than_two_people_are_refused(answers: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("caravan_airflow.service.Service.of", lambda _s: answers)
    with pytest.raises(RestoreRefused, match="one person is not enough"):
        tasks.two_people({"ti": Instance})


def test_two_people_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("caravan_airflow.service.Service.of", lambda _s: Answers("anna", "berta"))
    assert tasks.two_people({"ti": Instance}) == "anna and berta"
