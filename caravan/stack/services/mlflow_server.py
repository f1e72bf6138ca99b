"""Runs the MLflow server of a region, and knows the people who sign in there."""

from __future__ import annotations

from urllib.parse import urlsplit

import httpx

from caravan.stack.host import binaries, environment, probe
from caravan.stack.host.private_files import write_private
from caravan.stack.host.program import Program
from caravan.stack.keys import credentials
from contracts.errors import StackError
from contracts.settings import Settings

_USERS = "/api/2.0/mlflow/users"


def mlflow(s: Settings) -> Program:
    """Describe the MLflow server: artifacts proxied, people signed in, no job runners, no telemetry."""
    folder, port = s.paths.mlflow, s.ports.mlflow
    basic_auth = folder / "basic_auth.ini"

    def prepare() -> None:
        folder.mkdir(parents=True, exist_ok=True)
        lines = {
            "default_permission": "READ",
            "database_uri": s.database_url("mlflow_auth").replace("%", "%%"),
            "admin_username": s.mlflow_username,
            "admin_password": s.secret("mlflow_password").replace("%", "%%"),
            "authorization_function": "mlflow.server.auth:authenticate_request_basic_auth",
            # checking a password costs 50 ms of hashing; ten seconds is how long a revoked one may live on
            "auth_cache_ttl_seconds": "10",
        }
        write_private(basic_auth, "[mlflow]\n" + "".join(f"{name} = {value}\n" for name, value in lines.items()))

    # the name by which others reach it, when that is not its local port; and its own readiness check
    hosts = [s.host, f"{s.host}:{port}", "localhost", f"localhost:{port}"]
    hosts += [f"127.0.0.1:{port}", urlsplit(s.mlflow_url).netloc] if s.mlflow_url else []
    options = {
        "host": s.host,
        "port": port,
        "workers": 1,
        # basic-auth, and the door of approval before it: releases/approval/mlflow_app.py
        "app-name": "caravan-auth",
        "artifacts-destination": f"s3://{s.mlflow_bucket}",
        "allowed-hosts": ",".join(hosts),
        "cors-allowed-origins": ",".join(f"http://{host}" for host in hosts if ":" in host),
    }
    return Program(
        group=s.region,
        service="mlflow",
        command=(binaries.python(), "-m", "mlflow", "server", *(f"--{k}={v}" for k, v in options.items())),
        directory=folder,
        environment={
            **environment.of_settings(s),
            "MLFLOW_BACKEND_STORE_URI": s.database_url("mlflow"),
            "MLFLOW_AUTH_CONFIG_PATH": str(basic_auth),
            "MLFLOW_FLASK_SERVER_SECRET_KEY": credentials.read_secret(s, "mlflow_flask_key"),
            "MLFLOW_S3_ENDPOINT_URL": s.s3_url,
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "AWS_ACCESS_KEY_ID": s.secret("s3_access_key"),
            "AWS_SECRET_ACCESS_KEY": s.secret("s3_secret_key"),
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "OMP_NUM_THREADS": "1",
        },
        ports={"MLflow": port},
        address=s.mlflow_address,
        after=("postgres",),
        prepare=prepare,
        ready=lambda _: probe.http(f"http://{s.host}:{port}/health"),
        finish=lambda: ensure_people(s),
        stop_patience=5,
    )


def ensure_people(s: Settings) -> None:
    """Make each user, or give one its password of the secrets folder back; who can sign in is left alone."""
    admin = (s.mlflow_username, s.secret("mlflow_password"))
    try:
        with httpx.Client(base_url=s.mlflow_address, timeout=30.0, trust_env=False) as client:
            for user in credentials.MLFLOW_USERS:
                password = credentials.read_secret(s, f"mlflow_{user}_password")
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
