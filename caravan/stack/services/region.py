"""The programs of one region: PostgreSQL, Redis, SeaweedFS, MLflow, the serving engine and Envoy."""

from __future__ import annotations

import json
import time
from functools import partial
from pathlib import Path

from pydantic import SecretStr

from caravan.stack.host import binaries, environment, probe
from caravan.stack.host.private_files import write_private
from caravan.stack.host.program import Program
from caravan.stack.keys import credentials, inner_tls
from caravan.stack.services.mlflow_server import mlflow
from caravan.stack.services.postgres import Cluster, ensure_databases
from contracts.region import SLOTS
from contracts.settings import Settings
from contracts.sockets import SCHEME
from serving.edge import admin

#: Databases of a region, all owned by the role `caravan`.
DATABASES = ("caravan", "mlflow", "mlflow_auth", "feast")
#: Object by which the store shows that it can be read.
READY = "health/ready"
#: What the services of a region may do in its own buckets; in the bucket of snapshots, nothing.
RIGHTS = ("Read", "Write", "List", "Tagging")


def programs(s: Settings) -> list[Program]:
    """All programs of the region `s.region`. Needs the secrets to exist."""
    engines = [_engine(s, slot) for slot in SLOTS]
    daemons = [
        # moves releases on and back, and makes engines and edge follow the ledger
        _daemon(s, "controller", "releases", "postgres", "s3"),
        # renews the region's right to write, and tells it when that has ended
        _daemon(s, "keeper", "recovery.region_lease.lease_daemon", silence=60.0),
        # sends the database's log, events and new objects to the vault all the time
        _daemon(s, "feed", "recovery.shipping.replicator", "postgres", "s3"),
    ]
    return [_postgres(s), _redis(s), _object_store(s), mlflow(s), *engines, _edge(s), *daemons]


def cluster(s: Settings) -> Cluster:
    """The region's PostgreSQL."""
    return Cluster(
        folder=s.region_home / "postgres",
        host=s.host,
        port=s.ports.postgres,
        superuser_password=credentials.read(s, "postgres_superuser_password"),
        is_saved=True,
    )


def _postgres(s: Settings) -> Program:
    server = cluster(s)
    return server.program(
        s.region, {}, partial(ensure_databases, server, "caravan", s.secret("postgres_password"), DATABASES)
    )


def _redis(s: Settings) -> Program:
    folder = s.region_home / "redis"
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
        directory=s.region_home,
        ports={"Redis": s.ports.redis},
        address=f"{s.host}:{s.ports.redis}",
        prepare=prepare,
        ready=lambda _: probe.redis(s.host, s.ports.redis, s.secret("redis_password")),
        is_store=True,
    )


def _object_store(s: Settings) -> Program:
    folder, ports = s.region_home / "seaweedfs", s.ports
    identities = folder / "identities.json"

    def prepare() -> None:
        (folder / "data").mkdir(parents=True, exist_ok=True)
        key, secret = store_administrator(s)
        # makes buckets, and may pass the lock of snapshots: in the environment of no service
        administrator = {
            "name": "administrator",
            "credentials": [{"accessKey": key, "secretKey": secret}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        identity = {
            "name": "caravan",
            "credentials": [{"accessKey": s.secret("s3_access_key"), "secretKey": s.secret("s3_secret_key")}],
            "actions": [f"{right}:{name}" for name in (s.bucket, s.mlflow_bucket) for right in RIGHTS],
        }
        # may add to the snapshots and read them; what it wrote, it cannot take away (see recovery/vault/bucket.py)
        writer = {
            "name": "snapshot-writer",
            "credentials": [
                {"accessKey": s.secret("snapshot_access_key"), "secretKey": s.secret("snapshot_secret_key")}
            ],
            "actions": [f"{right}:{s.snapshot_bucket}" for right in ("Read", "Write", "List")],
        }
        write_private(identities, json.dumps({"identities": [administrator, identity, writer]}))
        # one volume file per bucket is enough for one machine; the default lays out seven
        (folder / "master.toml").write_text("[master.volume_growth]\ncopy_1 = 1\n")
        inner_tls.make(folder / "tls", s.host)
        write_private(folder / "security.toml", _store_security(credentials.read(s, "s3_internal_key")))

    options = {
        "dir": "data",
        "ip": s.host,
        "ip.bind": s.host,
        "master.port": ports.weed_master,
        "master.port.grpc": ports.weed_master_grpc,
        "master.telemetry": "false",
        # alone in its cluster it need not wait ten seconds for votes
        "master.electionTimeout": "1s",
        "master.heartbeatInterval": "100ms",
        "master.volumeSizeLimitMB": 1024,
        "volume.port": ports.weed_volume,
        "volume.port.grpc": ports.weed_volume_grpc,
        "volume.max": 0,
        "volume.index": "leveldb",
        "volume.preStopSeconds": 0,
        "filer": "true",
        "filer.port": ports.weed_filer,
        "filer.port.grpc": ports.weed_filer_grpc,
        # relative, because a socket's path has 107 bytes at most
        "filer.localSocket": "filer.sock",
        "filer.disableDirListing": "true",
        "s3": "true",
        "s3.port": ports.s3,
        "s3.port.grpc": ports.s3_grpc,
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
        "s3.localSocket": "s3.sock",
        "s3.config": identities.name,
        "s3.iam": "false",
        "s3.autoCreateBucket": "false",
    }
    grpc = {"master": ports.weed_master_grpc, "volume": ports.weed_volume_grpc, "filer": ports.weed_filer_grpc}
    sockets = [Path(f"/tmp/seaweedfs-{role}-grpc-{port}.sock") for role, port in {**grpc, "s3": ports.s3_grpc}.items()]  # noqa: S108
    return Program(
        group=s.region,
        service="s3",
        command=(str(binaries.weed()), "-logtostderr=true", "server", *(f"-{k}={v}" for k, v in options.items())),
        directory=folder,
        environment={"HOME": str(folder)},
        ports={
            "S3": ports.s3,
            "S3 gRPC": ports.s3_grpc,
            "SeaweedFS master": ports.weed_master,
            "SeaweedFS master gRPC": ports.weed_master_grpc,
            "SeaweedFS volume": ports.weed_volume,
            "SeaweedFS volume gRPC": ports.weed_volume_grpc,
            "SeaweedFS filer": ports.weed_filer,
            "SeaweedFS filer gRPC": ports.weed_filer_grpc,
        },
        address=s.s3_url,
        prepare=prepare,
        ready=lambda _: probe.http(f"http://{s.host}:{ports.s3}/healthz") and _reads_back(s),
        finish=lambda: ensure_buckets(s),
        # where it puts the first four cannot be chosen
        leftovers=(*sockets, folder / "filer.sock", folder / "s3.sock"),
        is_store=True,
        # asked to stop, its filer waits 15 s for subscribers that live in the same process
        stop_patience=3,
    )


def _store_security(key: str) -> str:
    """Have SeaweedFS' inner ports, HTTP and gRPC, take requests from itself alone: only it has a certificate.

    Object lock, policies and credentials live in the S3 gateway: whoever spoke to master, volume or filer would pass
    all of them by.
    """
    own = f'cert = "tls/{inner_tls.CERTIFICATE}"\nkey = "tls/{inner_tls.KEY}"\n'
    authority = f'ca = "tls/{inner_tls.AUTHORITY}"\n'
    sections = {"grpc": authority, "https.client": f"enabled = true\n{own}{authority}"}
    sections |= {f"grpc.{role}": own for role in ("master", "volume", "filer", "s3", "client")}
    sections |= {f"https.{role}": own + authority for role in ("master", "volume", "filer")}
    signed = ("jwt.signing", "jwt.signing.read", "jwt.filer_signing", "jwt.filer_signing.read")
    sections |= dict.fromkeys(signed, f'key = "{key}"\n')
    return "".join(f"[{name}]\n{lines}" for name, lines in sections.items())


def _reads_back(s: Settings) -> bool:
    """True when a small object can be read: after a crash the gateway answers before its volumes do."""
    from artifacts.object_store import ObjectStore
    from contracts.errors import CaravanError, NotFound

    try:
        store = ObjectStore.of(s)
        try:
            return store.get(READY) == b"ready"
        except NotFound:
            ensure_buckets(s)
            store.put(READY, b"ready")
            return True
    except CaravanError:
        return False


def ensure_buckets(s: Settings) -> None:
    """Create the region's buckets unless they exist."""
    from artifacts.object_store import ObjectStore
    from recovery.vault.bucket import LockedBucket

    key, secret = store_administrator(s)
    administrator = s.model_copy(update={"s3_access_key": SecretStr(key), "s3_secret_key": SecretStr(secret)})
    for bucket in (s.bucket, s.mlflow_bucket):
        ObjectStore.of(administrator, bucket).ensure_bucket()
    # each region could be the other's vault; which one is, CARAVAN_SNAPSHOT_ENDPOINT says
    LockedBucket.administrator(s, key, secret, at=s.s3_url).ensure_locked()


def store_administrator(s: Settings) -> tuple[str, str]:
    """Access key and secret of the administrator of this region's object store. Raises SettingsError without them."""
    access, secret = (
        credentials.read(s, f"{s.region}_store_administrator_{half}") for half in ("access_key", "secret_key")
    )
    return access, secret


def _engine(s: Settings, slot: str) -> Program:
    """One engine per slot; what each serves is the controller's matter."""
    address = s.engine_address_of(slot)
    return Program(
        group=s.region,
        service="engine" if slot == "champion" else f"engine-{slot}",
        command=(binaries.python(), "-m", "serving"),
        directory=s.region_home,
        environment={**environment.of_settings(s), "CARAVAN_ENGINE_SLOT": slot},
        # a port only where somebody set its address to one
        ports={} if address.startswith(SCHEME) else {f"serving engine ({slot})": s.ports.engine_of(slot)},
        address=address,
        # alive, not ready: before the first release there is nothing it could serve
        ready=lambda _: probe.engine(address),
    )


def _daemon(s: Settings, service: str, module: str, *after: str, silence: float = 30.0) -> Program:
    """One of our own that works on its own; it runs while its heartbeat is younger than `silence` seconds."""
    heartbeat = s.region_home / f"{service}.json"
    return Program(
        group=s.region,
        service=service,
        command=(binaries.python(), "-m", module),
        directory=s.region_home,
        environment={**environment.of_settings(s), "OMP_NUM_THREADS": "1"},
        after=after,
        ready=lambda since: heartbeat.is_file() and heartbeat.stat().st_mtime > max(since, time.time() - silence),
    )


def _edge(s: Settings) -> Program:
    folder = s.region_home / "edge"

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
        directory=s.region_home,
        ports={"Envoy": s.ports.edge, "metrics": s.ports.metrics},
        address=s.edge_address,
        prepare=prepare,
        ready=lambda _: admin.is_live(admin.region_socket(s)),
        leftovers=(admin.region_socket(s),),
    )
