"""Runs in a container of our image where a plain command would not do: `python -m caravan.stack.container WORK`.

    set-up       the region's role, databases and buckets, then end
    mlflow       the MLflow server, with the same options as in the embedded stack
    people       the users of the MLflow pages, then end
    edge         Envoy's files, for the Envoy container that shares the folder, then end
    control      the databases of the control group, then end
    global-edge  the same as `edge` for the Envoy in front of the regions

Addresses and secrets come from the settings; `docker-compose.yaml` sets them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from caravan.stack.host import environment
from caravan.stack.keys import credentials
from caravan.stack.services import mlflow_server, object_store, region
from caravan.stack.services.postgres import Cluster, ensure_databases
from contracts.errors import SettingsError
from contracts.settings import Settings, settings


def set_up(s: Settings) -> None:
    """Make what a fresh region lacks. Running it again is harmless."""
    server = _server(s, s.database_host, is_saved=True)
    ensure_databases(server, "caravan", s.secret("postgres_password"), region.DATABASES)
    object_store.ensure_buckets(s)


def control(s: Settings) -> None:
    """Make the databases of Airflow and of the lease, unless they exist."""
    from caravan.stack.services.control import ensure_control_databases

    ensure_control_databases(_server(s, s.control_database_host), s)


def _server(s: Settings, address: str, *, is_saved: bool = False) -> Cluster:
    """Return the PostgreSQL at `address`, which this process does not run."""
    host, _, port = address.partition(":")
    password = credentials.read_secret(s, "postgres_superuser_password")
    return Cluster(
        folder=s.paths.postgres, host=host, port=int(port or 5432), superuser_password=password,
        is_saved=is_saved,
    )  # fmt: skip


def mlflow(s: Settings) -> None:
    """Become the MLflow server."""
    program = mlflow_server.mlflow(s)
    program.prepare()
    os.execve(program.command[0], program.command, {**environment.base(s), **program.environment})  # noqa: S606


def edge(s: Settings) -> None:
    """Write Envoy's files."""
    from serving.edge.edge import write_edge

    write_edge(s.paths.edge, s)


def global_edge(s: Settings) -> None:
    """Write the files of the Envoy in front of the regions."""
    from serving.edge.global_edge import write_global_edge

    write_global_edge(s.home / "control" / "edge", s)


WORKS: dict[str, Callable[[Settings], None]] = {
    "set-up": set_up,
    "mlflow": mlflow,
    "people": mlflow_server.ensure_people,
    "edge": edge,
    "control": control,
    "global-edge": global_edge,
}


def main(arguments: list[str]) -> None:
    if len(arguments) != 1 or arguments[0] not in WORKS:
        raise SettingsError("the container does not know what to run", remedy=f"name one of: {', '.join(WORKS)}")
    WORKS[arguments[0]](settings())


if __name__ == "__main__":
    main(sys.argv[1:])
