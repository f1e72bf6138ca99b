"""`caravan release approve` and `reject`: who signs in, what is said, what is written."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from caravan.cli.release import approve, release, sign_in
from caravan.stack.keys import credentials
from contracts.errors import CaravanError, NotApproved, NotFound, SettingsError
from contracts.settings import Settings
from tests.releases.parts import Case, alone, gated

pytestmark = pytest.mark.stack
NOBODY = "http://127.0.0.1:1"


@pytest.fixture(scope="module", autouse=True)
def _alone(stack: Settings) -> Iterator[None]:
    with alone(stack):
        yield


class FakeAirflow(BaseHTTPRequestHandler):
    """Knows `reviewer` with the password `right`, as Airflow's sign-in does."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        right = body == {"username": "reviewer", "password": "right"} and self.path == "/auth/token"
        self.send_response(201 if right else 401)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        return None


@pytest.fixture(scope="module")
def airflow() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), FakeAirflow) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def case(stack: Settings) -> Case:
    return gated(stack)


@pytest.fixture(autouse=True)
def s(stack: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Airflow is not there; MLflow of the region is."""
    found = stack.model_copy(update={"airflow_url": NOBODY})
    monkeypatch.setattr(approve, "settings", lambda: found)
    monkeypatch.delenv(sign_in.PASSWORD, raising=False)
    monkeypatch.delenv(sign_in.PASSWORD_FILE, raising=False)
    return found


def file_of(s: Settings, user: str) -> str:
    return str(credentials.directory(s) / f"mlflow_{user}_password")


def run(*words: str, typed: str = "") -> Result:
    return CliRunner().invoke(release.app, list(words), input=typed)


def raised(result: Result) -> CaravanError:
    assert isinstance(result.exception, CaravanError), result.output
    return result.exception


def test_airflow_says_who_it_is(s: Settings, airflow: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    s = s.model_copy(update={"airflow_url": airflow})
    monkeypatch.setenv(sign_in.PASSWORD, "right")
    assert sign_in.person(s, " reviewer ") == "reviewer"
    monkeypatch.setenv(sign_in.PASSWORD, "wrong")
    with pytest.raises(NotApproved, match="Airflow does not let reviewer in"):
        sign_in.person(s, "reviewer")
    (tmp_path / "password").write_text("right\n")
    monkeypatch.setenv(sign_in.PASSWORD_FILE, str(tmp_path / "password"))
    assert sign_in.person(s, "reviewer") == "reviewer"
    # a password of MLflow opens nothing while Airflow answers
    with pytest.raises(NotApproved, match="Airflow does not"):
        sign_in.person(s, "reviewer", password_file=Path(file_of(s, "reviewer")))


def test_mlflow_says_it_where_airflow_does_not_answer(s: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sign_in.person(s, "viewer", password_file=Path(file_of(s, "viewer"))) == "viewer"
    with pytest.raises(NotApproved, match="MLflow .Airflow does not answer") as refused:
        sign_in.person(s, "reviewer", password_file=Path(file_of(s, "viewer")))
    assert refused.value.remedy
    with pytest.raises(NotApproved, match="nobody can check who you are"):
        sign_in.person(s.model_copy(update={"mlflow_url": NOBODY}), "viewer", password_file=Path(file_of(s, "viewer")))
    with pytest.raises(SettingsError, match="cannot be read"):
        sign_in.person(s, "viewer", password_file=Path("/nowhere/at/all"))
    with pytest.raises(SettingsError, match="nobody is named"):
        sign_in.person(s, " ")


def test_a_reviewer_approves(s: Settings, case: Case) -> None:
    password = Path(file_of(s, "reviewer")).read_text()
    result = run("approve", case.digest[:12], "--reason", "better on new items", typed=password)
    assert result.exit_code == 0, result.output
    assert f"reviewer approves release {case.digest[:12]} of {case.source}" in result.output
    assert "next: all shoppers at once" in result.output
    assert password.strip() not in result.output
    move = case.told("approved")[0]
    assert (move.actor, move.reason, move.evidence["door"]) == ("reviewer", "better on new items", "command line")


def test_a_reviewer_rejects(s: Settings, case: Case) -> None:
    file = file_of(s, "reviewer")
    result = run("reject", case.digest.upper(), "--reason", "worse", "--as", "reviewer", "--password-file", file)
    assert "never comes back" in result.output
    assert case.state == "rejected"


def test_who_is_missing_is_said(s: Settings, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    two = s.model_copy(update={"approvers_required": 2, "reviewers": "admin,reviewer,oncall"})
    monkeypatch.setattr(approve, "settings", lambda: two)
    for again in range(2):
        result = run("approve", case.digest, "--reason", "fine", "--password-file", file_of(s, "reviewer"))
        assert "1 more must approve: admin, oncall; until then it stays gated" in result.output, again
    dry = run("approve", case.digest, "--reason", "fine", "--as", "oncall", "--dry-run")
    assert "approved so far by: reviewer" in dry.output
    assert "next: all shoppers at once" in dry.output
    result = run("approve", case.digest, "--reason", "fine", "--as", "oncall", "--password-file", file_of(s, "oncall"))
    assert "next: all shoppers at once" in result.output
    assert case.state == "approved"


def test_a_dry_run_asks_for_no_password_and_changes_nothing(s: Settings, case: Case) -> None:
    before = len(case.ledger.history(case.source))
    result = run("approve", case.digest, "--reason", "fine", "--dry-run")
    assert result.exit_code == 0, result.output
    assert "reviewer would approve it: 2 new rows in the ledger" in result.output
    result = run("reject", case.digest, "--reason", "fine", "--dry-run")
    assert "reviewer would reject it" in result.output
    for words, why in (
        (["--reason", "fine", "--as", "viewer"], "viewer is no reviewer -> ask one of: admin, reviewer"),
        (["--reason", " "], "an answer needs a reason"),
    ):
        result = run("approve", case.digest, *words, "--dry-run")
        assert result.exit_code == 3
        assert why in result.output
    assert len(case.ledger.history(case.source)) == before


def test_a_viewer_and_a_wrong_password_are_refused(s: Settings, case: Case) -> None:
    result = run("approve", case.digest, "--reason", "x", "--as", "viewer", "--password-file", file_of(s, "viewer"))
    assert "viewer is no reviewer" in str(raised(result))
    assert case.told("refused")[0].evidence["door"] == "command line"
    result = run("approve", case.digest, "--reason", "x", typed="wrong\n")
    assert "does not let reviewer in" in str(raised(result))
    assert len(case.told("refused")) == 1, "who did not sign in writes nothing"
    assert case.state == "gated"


def test_the_digest_must_name_one_release(stack: Settings, case: Case) -> None:
    assert isinstance(raised(run("approve", case.digest[:11], "--reason", "x")), NotApproved)
    assert isinstance(raised(run("approve", "f" * 64, "--reason", "x")), NotFound)
    assert isinstance(raised(run("approve", "%" * 12, "--reason", "x")), NotFound)
