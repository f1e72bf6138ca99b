"""The people of the MLflow pages, made through MLflow's own interface as its service account."""

from __future__ import annotations

import httpx

from caravan.stack import credentials
from contracts.errors import StackError
from contracts.settings import Settings

_USERS = "/api/2.0/mlflow/users"


def ensure(s: Settings) -> None:
    """Make each user, or give one its password of the secrets folder back; who can sign in is left alone."""
    admin = (s.mlflow_username, s.secret("mlflow_password"))
    try:
        with httpx.Client(base_url=s.mlflow_address, timeout=30.0, trust_env=False) as client:
            for user in credentials.MLFLOW_USERS:
                password = credentials.read(s, f"mlflow_{user}_password")
                if client.get(f"{_USERS}/current", auth=(user, password)).is_success:
                    continue
                body = {"username": user, "password": password}
                answer = client.post(f"{_USERS}/create", json=body, auth=admin)
                if answer.status_code == 400:  # it exists
                    answer = client.patch(f"{_USERS}/update-password", json=body, auth=admin)
                if not answer.is_success:
                    raise StackError(
                        f"MLflow does not make the user {user} ({answer.status_code})",
                        remedy=f"`caravan logs mlflow` says why; it must know {s.mlflow_username}'s password",
                    )
    except httpx.HTTPError as error:
        raise StackError(
            f"MLflow at {s.mlflow_address} does not answer ({type(error).__name__})", remedy="`caravan logs mlflow`"
        ) from error
