"""What the recovery DAGs call: the steps the command has, and its errors as people should see them."""

from __future__ import annotations

import ast
import re
import stat
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from caravan_airflow.recovery import commands, tasks
from caravan_airflow.ui.forms import recover_params, rehearsal_params
from typer.testing import CliRunner

from caravan.cli.console.ending import tell
from caravan.cli.main import app
from contracts.errors import CaravanError, ChainBroken, RecoveryError, RestoreRefused, SettingsError, StackError
from contracts.exit_codes import code_of, final
from contracts.recovery import FAILBACK_STEPS, RESTORE_STEPS, Fault
from recovery.drills.faults import FAULTS
from recovery.restore.steps import STEPS
from recovery.snapshots import verify
from tests.conftest import REPOSITORY


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


def table(text: str, head: str) -> list[str]:
    """Return the first cells of a Markdown table whose first heading is `head`."""
    rows = text.split(f"| {head} |", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    return [row.split("|")[1].strip() for row in rows]


def test_the_page_shows_every_step_and_every_fault() -> None:
    page = (REPOSITORY / "docs" / "recovery.md").read_text()
    assert table(page, "step") == list(STEPS) == list(RESTORE_STEPS)
    assert table(page, "fault") == list(FAULTS) == list(Fault)


@pytest.mark.parametrize(("dag", "steps"), [("recover", RESTORE_STEPS), ("fail_back", FAILBACK_STEPS)])
def test_a_dag_explains_the_steps_there_are(dag: str, steps: tuple[str, ...]) -> None:
    rows = table((REPOSITORY / "dags" / f"{dag}.py").read_text(), "step")
    named = [name for row in rows for name in re.split(" … |, ", row)]
    known = ["look", *tasks.CONFIRMATIONS, *steps]
    assert [name for name in named if name not in known] == []
    assert [known.index(name) for name in named] == sorted(known.index(name) for name in named)
    assert named[-1] == steps[-1]


@pytest.mark.parametrize("dag", ["recover", "fail_back", "back_up"])
def test_a_refusal_is_final(dag: str) -> None:
    assert '"retry_policy": REFUSALS_ARE_FINAL' in (REPOSITORY / "dags" / f"{dag}.py").read_text()


def test_the_form_offers_every_fault() -> None:
    assert rehearsal_params()["fault"].schema["enum"] == list(Fault)


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


@pytest.mark.parametrize("problems", [(), ("objects/aa/aa is missing",)])
def test_a_bad_snapshot_reaches_the_task_with_its_bad_files(
    problems: tuple[str, ...], command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command prints one document, its report, in which the error is too."""
    report = verify.VerificationReport(files=3, size=12, problems=problems)
    monkeypatch.setattr(verify, "verify", lambda *_, **__: report)
    monkeypatch.setattr("recovery.vault.vault.Vault.of", lambda _s: None)
    monkeypatch.setattr("recovery.vault.catalog.Catalog.named", lambda *_: SimpleNamespace(id="s000001"))
    ended = CliRunner().invoke(app, ["snapshot", "verify", "--json"])
    command(f"print({ended.stdout!r}); print({ended.stderr!r}, file=sys.stderr); sys.exit({ended.exit_code})")
    if not problems:
        assert commands.caravan("snapshot", "verify")["files"] == 3
        return
    with pytest.raises(RecoveryError, match="s000001 is not whole: objects/aa/aa is missing") as raised:
        commands.caravan("snapshot", "verify")
    assert "snapshot create --full" in raised.value.remedy


def test_a_remedy_names_what_the_form_has_or_a_whole_command() -> None:
    """The same error is read beside a command and in a task's log."""
    fields = {f"--{name.replace('_', '-')}" for name in recover_params()}
    remedies = [
        ast.unparse(given.value)
        for path in (REPOSITORY / "recovery").rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call)
        for given in call.keywords
        if given.arg == "remedy"
    ]
    assert len(remedies) > 50
    alone = {option for text in remedies for option in re.findall(r"--[a-z-]+", re.sub(r"`caravan [^`]*`", "", text))}
    assert alone <= fields


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
