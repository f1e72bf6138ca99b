"""Who acts in an incident: signed in where anybody can check it, else the user of this machine, recorded as such."""

from __future__ import annotations

import getpass
from pathlib import Path

import httpx

from contracts.settings import Settings

#: Seconds an answer may take before a sign-in counts as down.
PATIENCE = 2.0


def answering(s: Settings) -> bool:
    """True when Airflow or MLflow answers, so that a password can be checked."""
    with httpx.Client(timeout=PATIENCE, trust_env=False) as client:
        for url in (f"{s.airflow_address}/api/v2/version", f"{s.mlflow_address}/health"):
            try:
                if not client.get(url).is_server_error:
                    return True
            except httpx.TransportError:
                continue
    return False


def unsigned() -> str:
    """What is recorded when nobody can check who it is."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "unknown"
    return f"oncall (os user {user[:64]}, not signed in)"


def person_or_os_user(s: Settings, user: str, *, password_file: Path | None = None) -> tuple[str, bool]:
    """Who acts, and whether the sign-in vouches for it. NotApproved for a wrong password."""
    from caravan.cli.release import sign_in

    if not answering(s):
        return unsigned(), False
    return sign_in.person(s, user, password_file=password_file), True
