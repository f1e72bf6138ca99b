"""Describes the control group: Airflow, a PostgreSQL of its own, and the edge in front of the regions.

A restore replaces a region's whole database, so the thing that conducts it cannot keep its memory there.
Airflow's settings go into an `airflow.cfg` of mode 0600: with `AIRFLOW_HOME=<home>/control/airflow` every
`airflow` command works on this installation.
"""

from __future__ import annotations

import configparser
import hashlib
import importlib.metadata
import io
import json
import subprocess
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

from caravan.stack.host import binaries, environment, probe
from caravan.stack.host.environment import REPOSITORY
from caravan.stack.host.private_files import write_private
from caravan.stack.host.program import Program
from caravan.stack.keys import credentials
from caravan.stack.services.postgres import Cluster, ensure_databases
from contracts.errors import StackError
from contracts.settings import Settings
from serving.edge import admin

#: Tasks that run at once; every idle slot of the LocalExecutor may be a process.
PARALLELISM = 4


def airflow_home(s: Settings) -> Path:
    return s.home / "control" / "airflow"


def cluster(s: Settings) -> Cluster:
    """Describe Airflow's own PostgreSQL."""
    return Cluster(
        folder=s.home / "control" / "postgres",
        host=s.host,
        port=s.control_ports.airflow_postgres,
        superuser_password=credentials.read_secret(s, "postgres_superuser_password"),
    )


def programs(s: Settings) -> list[Program]:
    """Describe PostgreSQL, api-server, scheduler, dag-processor and triggerer, and the global edge."""
    server = cluster(s)

    def finish() -> None:
        ensure_control_databases(server, s)
        set_up_airflow(s)

    health = f"{s.airflow_address}/api/v2/monitor/health"
    url = f"http://{s.host}:{s.control_ports.airflow}"
    return [
        server.program("control", {}, finish),
        # the servers of task logs bind to all addresses; here the API server reads the files themselves
        _airflow(s, "api-server", ("api-server",), lambda _: probe.http(f"{url}/api/v2/version"), serves=True),
        _airflow(
            s, "scheduler", ("--skip-serve-logs",), _beats(health, "scheduler"), module="caravan_airflow.scheduler"
        ),
        _airflow(s, "dag-processor", ("dag-processor",), _beats(health, "dag_processor")),
        _airflow(s, "triggerer", ("triggerer", "--skip-serve-logs"), _beats(health, "triggerer")),
        _global_edge(s),
    ]


def ensure_control_databases(server: Cluster, s: Settings) -> None:
    """Create Airflow's database, and the one that names the active region, which the regions' keepers ask."""
    ensure_databases(server, "airflow", credentials.read_secret(s, "airflow_database_password"), ["airflow"])
    ensure_databases(server, "caravan", s.secret("postgres_password"), ["control"])


def _global_edge(s: Settings) -> Program:
    """Describe the edge that leads shoppers to the active region."""
    folder = s.home / "control" / "edge"

    def prepare() -> None:
        from serving.edge import global_edge

        global_edge.write_global_edge(folder, s)

    return Program(
        group="control",
        service="edge",
        command=binaries.envoy_command(folder / "global-edge.yaml"),
        directory=s.home / "control",
        ports={"global Envoy": s.control_ports.global_edge},
        address=s.global_edge_address,
        prepare=prepare,
        ready=lambda _: admin.is_live(admin.control_socket(s)),
        leftovers=(admin.control_socket(s),),
    )


def _airflow(
    s: Settings, service: str, arguments: tuple[str, ...], ready: Callable[[float], bool], *,
    serves: bool = False, module: str = "airflow",
) -> Program:  # fmt: skip
    return Program(
        group="control",
        service=service,
        command=(binaries.python(), "-m", module, *arguments),
        directory=REPOSITORY,
        environment=airflow_environment(s),
        ports={"Airflow": s.control_ports.airflow} if serves else {},
        address=s.airflow_address if serves else "",
        after=("postgres",),
        ready=ready,
    )


def _beats(health: str, component: str) -> Callable[[float], bool]:
    """Check whether the component's heartbeat, as the API server sees it, is younger than its start."""

    def ready(since: float) -> bool:
        about = probe.http_json(health).get(component) or {}
        beat = about.get(f"latest_{component}_heartbeat")
        return about.get("status") == "healthy" and datetime.fromisoformat(str(beat)).timestamp() > since

    return ready


def airflow_environment(s: Settings) -> dict[str, str]:
    """Return what every Airflow process, and so every task, has in its environment. It holds no secret."""
    return {
        **environment.of_settings(s),
        "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'plugins'}",
        "AIRFLOW_HOME": str(airflow_home(s)),
        "NO_COLOR": "1",
    }


def configuration(s: Settings) -> dict[str, dict[str, object]]:
    """Return the sections of airflow.cfg that differ from Airflow's own defaults."""
    home, ports = airflow_home(s), s.control_ports
    secret = credentials.read_secret(s, "airflow_database_password")
    database = f"{s.host}:{ports.airflow_postgres}/airflow"
    return {
        "core": {
            "dags_folder": REPOSITORY / "dags",
            # Airflow imports every file of it by its bare name ("tasks", "assets"), which would hide packages of the
            # same name; an ignore file would do, but Airflow's own library warns of its syntax in every task's log
            "plugins_folder": REPOSITORY / "plugins" / "loaded_by_airflow",
            "executor": "LocalExecutor",
            "parallelism": PARALLELISM,
            "load_examples": False,
            "auth_manager": "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager",
            "execution_api_server_url": f"http://{s.host}:{ports.airflow}/execution/",
            "fernet_key": credentials.read_secret(s, "airflow_fernet_key"),
            "hostname_callable": "socket.gethostname",
            "test_connection": "Disabled",
        },
        "database": {
            "sql_alchemy_conn": f"postgresql+psycopg2://airflow:{quote(secret, safe='')}@{database}",
            "sql_alchemy_conn_async": f"postgresql+asyncpg://airflow:{quote(secret, safe='')}@{database}",
            "load_default_connections": False,
        },
        "logging": {
            "base_log_folder": home / "logs",
            "file_task_handler_new_folder_permissions": "0o700",
            "file_task_handler_new_file_permissions": "0o600",
            "dag_processor_child_process_log_directory": home / "logs" / "dag_processor",
            "worker_log_server_port": ports.airflow_worker_logs,
            "trigger_log_server_port": ports.airflow_trigger_logs,
            "colored_console_log": False,
        },
        "api": {
            "host": s.host,
            "port": ports.airflow,
            "base_url": s.airflow_address,
            "workers": 1,
            "secret_key": credentials.read_secret(s, "airflow_api_key"),
            "expose_config": False,
            "expose_stacktrace": False,
            "instance_name": "Caravan",
        },
        "api_auth": {"jwt_secret": credentials.read_secret(s, "airflow_jwt_key")},
        # what a killed scheduler or task leaves is taken up again within a minute or two, not after five each
        "scheduler": {
            "scheduler_idle_sleep_time": 0.5,
            "enable_health_check": False,
            "orphaned_tasks_check_interval": 20,
            "task_instance_heartbeat_timeout": 90,
        },
        "dag_processor": {"parsing_processes": 1, "refresh_interval": 10, "min_file_process_interval": 30},
        "triggerer": {"capacity": 100},
        "fab": {"update_fab_perms": True},
        "usage_data_collection": {"enabled": False},
    }


def write_configuration(s: Settings) -> None:
    """Write airflow.cfg."""
    file = configparser.RawConfigParser()
    for section, options in configuration(s).items():
        # Airflow expands `%` in its file
        file[section] = {name: str(value).replace("%", "%%") for name, value in options.items()}
    text = io.StringIO()
    file.write(text)
    airflow_home(s).mkdir(parents=True, exist_ok=True)
    write_private(airflow_home(s) / "airflow.cfg", text.getvalue())


def _airflow_password(s: Settings, user: str) -> str:
    """Return a user's password; that of our own tasks is a setting, because they read it."""
    if user == "caravan":
        return s.secret("airflow_password")
    return credentials.read_secret(s, f"airflow_{user}_password")


def set_up_airflow(s: Settings) -> None:
    """Write the configuration; make tables, roles and users, unless this very version has done so already."""
    write_configuration(s)
    packages = ("apache-airflow", "apache-airflow-providers-fab")
    parts = {name: importlib.metadata.version(name) for name in packages}
    recipe = (REPOSITORY / "plugins" / "caravan_airflow" / "set_up.py").read_bytes()
    parts["set_up"] = hashlib.sha256(recipe).hexdigest()[:12]
    parts["users"] = hashlib.sha256(json.dumps(credentials.AIRFLOW_USERS).encode()).hexdigest()[:12]
    parts["passwords"] = hashlib.sha256(
        "".join(_airflow_password(s, user) for user in credentials.AIRFLOW_USERS).encode()
    ).hexdigest()[:12]
    state, marker = json.dumps(parts), cluster(s).folder / "airflow-is-set-up.json"
    if marker.is_file() and marker.read_text() == state:
        return
    users = [
        {"username": user, "role": role, "password": _airflow_password(s, user)}
        for user, role in credentials.AIRFLOW_USERS.items()
    ]
    done = subprocess.run(
        [binaries.python(), "-m", "caravan_airflow.set_up"],
        input=json.dumps(users), capture_output=True, text=True, check=False, timeout=300,
        env={**environment.base(s), **airflow_environment(s)},
    )  # fmt: skip
    if done.returncode:
        log = airflow_home(s) / "set-up.log"
        log.write_text(done.stdout + done.stderr)
        raise StackError("Airflow's database could not be set up", remedy=f"see {log}")
    marker.write_text(state)
