"""Who acts in an incident, when the sign-in works and when it is what is down."""

from __future__ import annotations

from pathlib import Path

import pytest

from caravan.cli.release.sign_in import answering, person_or_os_user
from contracts.errors import NotApproved
from contracts.settings import Settings, read_settings
from tests.serving.live import free_port


def test_where_nobody_answers_the_user_of_the_machine_is_recorded(tmp_path: Path) -> None:
    closed = f"http://127.0.0.1:{free_port()}"
    s = read_settings(home=tmp_path, airflow_url=closed, mlflow_url=closed)
    assert not answering(s)
    name, signed_in = person_or_os_user(s, "oncall")
    assert not signed_in
    assert name.startswith("oncall (os user ")
    assert name.endswith(", not signed in)")


@pytest.mark.stack
def test_where_somebody_answers_the_password_counts(stack: Settings, tmp_path: Path) -> None:
    right = stack.home / "secrets" / "mlflow_oncall_password"
    s = stack.model_copy(update={"airflow_url": f"http://127.0.0.1:{free_port()}"})
    assert person_or_os_user(s, "oncall", password_file=right) == ("oncall", True)
    wrong = tmp_path / "wrong"
    wrong.write_text("guessed")
    with pytest.raises(NotApproved):
        person_or_os_user(s, "oncall", password_file=wrong)
