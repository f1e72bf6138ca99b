"""Runs SeaweedFS, the object store of a region: its identities, its ports, its inner keys and its buckets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from caravan.stack.host import binaries, probe
from caravan.stack.host.private_files import write_private
from caravan.stack.host.program import Program
from caravan.stack.keys import credentials, inner_tls
from contracts.settings import Settings

#: Object by which the store shows that it can be read.
READY = "health/ready"
#: What the services of a region may do in its own buckets; in the bucket of snapshots, nothing.
RIGHTS = ("Read", "Write", "List", "Tagging")
IDENTITIES = "identities.json"


def program(s: Settings) -> Program:
    """Return the store of the region `s.region`: master, volume, filer and S3 gateway in one process."""
    folder, ports = s.paths.object_store, s.ports

    def prepare() -> None:
        (folder / "data").mkdir(parents=True, exist_ok=True)
        write_private(folder / IDENTITIES, json.dumps({"identities": _identities(s)}))
        # one volume file per bucket is enough for one machine; the default lays out seven
        (folder / "master.toml").write_text("[master.volume_growth]\ncopy_1 = 1\n")
        inner_tls.make(folder / "tls", s.host)
        write_private(folder / "security.toml", _security(credentials.read_secret(s, "s3_internal_key")))

    grpc = {"master": ports.weed_master_grpc, "volume": ports.weed_volume_grpc, "filer": ports.weed_filer_grpc}
    sockets = [Path(f"/tmp/seaweedfs-{role}-grpc-{port}.sock") for role, port in {**grpc, "s3": ports.s3_grpc}.items()]  # noqa: S108
    options = _options(s)
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


def _identities(s: Settings) -> list[dict[str, Any]]:
    """Return who may do what: the administrator, the region's services, and the writer of snapshots."""
    access, secret = store_administrator(s)
    # makes buckets, and may pass the lock of snapshots: in the environment of no service
    administrator = _identity("administrator", access, secret, ["Admin", "Read", "Write", "List", "Tagging"])
    buckets = (s.bucket, s.mlflow_bucket)
    services = _identity(
        "caravan", s.secret("s3_access_key"), s.secret("s3_secret_key"),
        [f"{right}:{name}" for name in buckets for right in RIGHTS],
    )  # fmt: skip
    # may add to the snapshots and read them; what it wrote, it cannot take away (see recovery/vault/bucket.py)
    writer = _identity(
        "snapshot-writer", s.secret("snapshot_access_key"), s.secret("snapshot_secret_key"),
        [f"{right}:{s.snapshot_bucket}" for right in ("Read", "Write", "List")],
    )  # fmt: skip
    return [administrator, services, writer]


def _identity(name: str, access: str, secret: str, actions: list[str]) -> dict[str, Any]:
    return {"name": name, "credentials": [{"accessKey": access, "secretKey": secret}], "actions": actions}


def _options(s: Settings) -> dict[str, str | int]:
    """Return the options of `weed server`."""
    ports = s.ports
    return {
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
        "s3.config": IDENTITIES,
        "s3.iam": "false",
        "s3.autoCreateBucket": "false",
    }


def _security(key: str) -> str:
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
    """Check whether a small object can be read: after a crash the gateway answers before its volumes do."""
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
    """Return access key and secret of the object store's administrator. Raises SettingsError without them."""
    access, secret = (
        credentials.read_secret(s, f"{s.region}_store_administrator_{half}") for half in ("access_key", "secret_key")
    )
    return access, secret
