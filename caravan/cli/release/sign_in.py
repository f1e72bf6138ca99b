"""Signs a person in at the command line: by Airflow, or by MLflow where Airflow does not answer.

In an incident where neither answers, the user of this machine acts, and is recorded as not signed in.
"""

from __future__ import annotations

import os
from pathlib import Path

import httpx
import typer

from caravan.cli.console.os_user import os_user
from contracts.errors import NotApproved, SettingsError
from contracts.settings import Settings

#: Where the password may come from, if it cannot be typed.
PASSWORD, PASSWORD_FILE = "CARAVAN_USER_PASSWORD", "CARAVAN_USER_PASSWORD_FILE"
#: Seconds a sign-in may take, and seconds an answer may take before a sign-in counts as down.
SIGN_IN_TIMEOUT_S, ANSWER_TIMEOUT_S = 15.0, 2.0


def person(s: Settings, user: str, *, password_file: Path | None = None) -> str:
    """Sign a person in, and return the name. Raises NotApproved for a wrong password, or if none can be checked."""
    user = user.strip()
    if not user:
        raise SettingsError("nobody is named", remedy="say who you are: --as reviewer")
    password = _password(user, password_file)
    with httpx.Client(timeout=SIGN_IN_TIMEOUT_S, trust_env=False) as client:
        if (known := _airflow(client, s, user, password)) is not None:
            where = "Airflow"
        elif (known := _mlflow(client, s, user, password)) is not None:
            where = "MLflow (Airflow does not answer, and here people have passwords of their own)"
        else:
            raise NotApproved(
                f"nobody can check who you are: neither Airflow ({s.airflow_address}) nor MLflow ({s.mlflow_address}) "
                "answers",
                remedy="`caravan status` shows what runs; `caravan up` starts it",
            )
    if not known:
        raise NotApproved(f"{where} does not let {user} in with this password", remedy="check the name and password")
    return user


def answering(s: Settings) -> bool:
    """Say whether Airflow or MLflow answers, so that a password can be checked."""
    with httpx.Client(timeout=ANSWER_TIMEOUT_S, trust_env=False) as client:
        for url in (f"{s.airflow_address}/api/v2/version", f"{s.mlflow_address}/health"):
            try:
                if not client.get(url).is_server_error:
                    return True
            except httpx.TransportError:
                continue
    return False


def unsigned() -> str:
    """Name the user of this machine, as it is recorded when no password can be checked."""
    return f"oncall ({os_user()}, not signed in)"


def person_or_os_user(s: Settings, user: str, *, password_file: Path | None = None) -> tuple[str, bool]:
    """Return who acts, and whether the sign-in vouches for it. Raises NotApproved for a wrong password."""
    if not answering(s):
        return unsigned(), False
    return person(s, user, password_file=password_file), True


def _password(user: str, file: Path | None) -> str:
    path = file or (Path(os.environ[PASSWORD_FILE]) if os.environ.get(PASSWORD_FILE) else None)
    if path is not None:
        try:
            found = path.expanduser().read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"the password file {path} cannot be read", remedy="name another") from error
    else:
        found = os.environ.get(PASSWORD) or str(typer.prompt(f"Password of {user}", hide_input=True, err=True))
    if not found:
        raise SettingsError("the password is empty", remedy=f"type it, or set {PASSWORD_FILE}")
    return found


def _airflow(client: httpx.Client, s: Settings, user: str, password: str) -> bool | None:
    """Ask Airflow: True for the right password, False for a wrong one, None if it does not answer."""
    try:
        answer = client.post(f"{s.airflow_address}/auth/token", json={"username": user, "password": password})
    except httpx.TransportError:
        return None
    return None if answer.is_server_error else answer.is_success


def _mlflow(client: httpx.Client, s: Settings, user: str, password: str) -> bool | None:
    try:
        answer = client.get(f"{s.mlflow_address}/api/2.0/mlflow/users/current", auth=(user, password))
    except httpx.TransportError:
        return None
    return None if answer.is_server_error else answer.is_success
