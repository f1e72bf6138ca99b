"""Describes the programs of one region: PostgreSQL, Redis, SeaweedFS, MLflow, the serving engine and Envoy."""

from __future__ import annotations

import time
from functools import partial

from caravan.stack.host import binaries, environment, probe
from caravan.stack.host.private_files import write_private
from caravan.stack.host.program import Program
from caravan.stack.keys import credentials
from caravan.stack.services import object_store
from caravan.stack.services.mlflow_server import mlflow
from caravan.stack.services.postgres import Cluster, ensure_databases
from contracts.region import SLOTS
from contracts.settings import Settings
from contracts.sockets import SCHEME
from serving.edge import admin

#: Databases of a region, all owned by the role `caravan`.
DATABASES = ("caravan", "mlflow", "mlflow_auth", "feast")


def programs(s: Settings) -> list[Program]:
    """Describe all programs of the region `s.region`. Needs the secrets to exist."""
    engines = [_engine(s, slot) for slot in SLOTS]
    daemons = [
        # moves releases on and back, and makes engines and edge follow the ledger
        _daemon(s, "controller", "releases", "postgres", "s3"),
        # renews the region's right to write, and tells it when that has ended
        _daemon(s, "keeper", "recovery.region_lease.lease_daemon", silence=60.0),
        # sends the database's log, events and new objects to the vault all the time
        _daemon(s, "feed", "recovery.shipping.replicator", "postgres", "s3"),
    ]
    return [_postgres(s), _redis(s), object_store.program(s), mlflow(s), *engines, _edge(s), *daemons]


def cluster(s: Settings) -> Cluster:
    """Return the region's PostgreSQL."""
    return Cluster(
        folder=s.paths.postgres,
        host=s.host,
        port=s.ports.postgres,
        superuser_password=credentials.read_secret(s, "postgres_superuser_password"),
        is_saved=True,
    )


def _postgres(s: Settings) -> Program:
    server = cluster(s)
    return server.program(
        s.region, {}, partial(ensure_databases, server, "caravan", s.secret("postgres_password"), DATABASES)
    )


def _redis(s: Settings) -> Program:
    folder = s.paths.redis
    configuration = folder / "redis.conf"

    def prepare() -> None:
        folder.mkdir(parents=True, exist_ok=True)
        lines = {
            "bind": s.host,
            "port": s.ports.redis,
            "requirepass": s.secret("redis_password"),
            "dir": f'"{folder}"',
            "appendonly": "yes",
            "appendfsync": "everysec",
            "aof-use-rdb-preamble": "yes",
            "save": '""',
            "daemonize": "no",
            "tcp-backlog": 128,
        }
        write_private(configuration, "".join(f"{name} {value}\n" for name, value in lines.items()))

    return Program(
        group=s.region,
        service="redis",
        command=(str(binaries.redis_server()), str(configuration)),
        directory=s.paths.home,
        ports={"Redis": s.ports.redis},
        address=f"{s.host}:{s.ports.redis}",
        prepare=prepare,
        ready=lambda _: probe.redis(s.host, s.ports.redis, s.secret("redis_password")),
        is_store=True,
    )


def _engine(s: Settings, slot: str) -> Program:
    """Describe one slot's engine; what it serves is the controller's matter."""
    address = s.engine_address_of(slot)
    return Program(
        group=s.region,
        service="engine" if slot == "champion" else f"engine-{slot}",
        command=(binaries.python(), "-m", "serving"),
        directory=s.paths.home,
        environment={**environment.of_settings(s), "CARAVAN_ENGINE_SLOT": slot},
        # a port only where somebody set its address to one
        ports={} if address.startswith(SCHEME) else {f"serving engine ({slot})": s.ports.engine_of(slot)},
        address=address,
        # alive, not ready: before the first release there is nothing it could serve
        ready=lambda _: probe.engine(address),
    )


def _daemon(s: Settings, service: str, module: str, *after: str, silence: float = 30.0) -> Program:
    """Describe a daemon of our own; it counts as ready while its heartbeat is younger than `silence` seconds."""
    heartbeat = s.paths.heartbeat(service)
    return Program(
        group=s.region,
        service=service,
        command=(binaries.python(), "-m", module),
        directory=s.paths.home,
        environment={**environment.of_settings(s), "OMP_NUM_THREADS": "1"},
        after=after,
        ready=lambda since: heartbeat.is_file() and heartbeat.stat().st_mtime > max(since, time.time() - silence),
    )


def _edge(s: Settings) -> Program:
    folder = s.paths.edge

    def prepare() -> None:
        from serving.edge.edge import write_edge

        folder.mkdir(parents=True, exist_ok=True)
        written = write_edge(folder, s)
        bootstrap = folder / "bootstrap.yaml"
        if written != bootstrap:
            bootstrap.unlink(missing_ok=True)
            bootstrap.symlink_to(written)

    return Program(
        group=s.region,
        service="edge",
        command=binaries.envoy_command(folder / "bootstrap.yaml"),
        directory=s.paths.home,
        ports={"Envoy": s.ports.edge, "metrics": s.ports.metrics},
        address=s.edge_address,
        prepare=prepare,
        ready=lambda _: admin.is_live(admin.region_socket(s)),
        leftovers=(admin.region_socket(s),),
    )
