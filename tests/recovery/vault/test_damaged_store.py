"""A store whose disk damaged an object says of it what it says when it is ill; it is told from one that is ill."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from boto3.exceptions import RetriesExceededError
from botocore.exceptions import ClientError, EndpointConnectionError

from contracts.errors import Conflict, StoreUnavailable, Tampered
from recovery.vault import bucket, vault_lock
from recovery.vault.bucket import LockedBucket
from recovery.vault.encryption import Sealer
from recovery.vault.manifest import Part
from recovery.vault.vault import Vault
from tests.recovery.vaults import settings


class Client:
    """The part of boto3's client that is used; of `damaged` (key, version) no bytes come, and of an ill one of none."""

    def __init__(self) -> None:
        self.kept: dict[str, list[bytes]] = {}
        self.damaged: set[tuple[str, int]] = set()
        self.ill = False
        self.hiccups = 0
        self.status = 500

    def put_object(self, *, Bucket: str, Key: str, Body: bytes, **condition: str) -> dict[str, str]:  # noqa: N803
        self._well("PutObject")
        self.kept.setdefault(Key, []).append(Body)
        return {"ETag": str(len(self.kept[Key]))}

    def get_object(self, *, Bucket: str, Key: str, VersionId: str = "") -> dict[str, Any]:  # noqa: N803
        if Key not in self.kept:
            raise ClientError({"Error": {"Code": "NoSuchKey"}}, "GetObject")
        number = int(VersionId or len(self.kept[Key]) - 1)
        self._well("GetObject", (Key, number))
        return {"Body": io.BytesIO(self.kept[Key][number]), "ETag": str(number + 1)}

    def head_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803
        return {"ContentLength": len(self.kept[Key][-1]), "ETag": str(len(self.kept[Key]))}

    def download_file(self, bucket: str, key: str, path: str, *, Config: object) -> None:  # noqa: N803
        if (key, len(self.kept[key]) - 1) in self.damaged:
            raise RetriesExceededError(ValueError("the body broke off"))
        Path(path).write_bytes(self.kept[key][-1])

    def get_paginator(self, _name: str) -> Client:
        return self

    def paginate(self, *, Bucket: str, Prefix: str) -> Any:  # noqa: N803
        names = [(key, n) for key, kept in self.kept.items() for n in reversed(range(len(kept)))]
        yield {"Versions": [{"Key": key, "VersionId": str(n)} for key, n in names if key.startswith(Prefix)]}

    def _well(self, operation: str, what: tuple[str, int] = ("", 0)) -> None:
        if self.ill:
            raise EndpointConnectionError(endpoint_url="http://127.0.0.1:1")
        self.hiccups -= operation == "GetObject" and what[0] != bucket._PROBE
        if what in self.damaged or (self.hiccups >= 0 and what[0] not in ("", bucket._PROBE)):
            answer = {"Error": {"Code": "InternalError"}, "ResponseMetadata": {"HTTPStatusCode": self.status}}
            raise ClientError(answer, operation)  # type: ignore[arg-type]


@pytest.fixture
def client() -> Client:
    return Client()


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bucket, "_PAUSES", (0.0,))
    monkeypatch.setattr(vault_lock, "RENEW_EVERY", -1.0)


@pytest.fixture
def vault(client: Client) -> Vault:
    return Vault(LockedBucket(client, "snapshots"), Sealer.of(settings()))  # type: ignore[arg-type]


def kept(vault: Vault, *, damaged: Client | None = None) -> Part:
    part = vault.keep_sealed(b"rows", "part", over=True)
    if damaged is not None:
        damaged.damaged.add(("part", len(damaged.kept["part"]) - 1))
    return part


def test_a_damaged_object_is_tampered_with_and_an_ill_store_unavailable(vault: Vault, client: Client) -> None:
    part = kept(vault, damaged=client)
    with pytest.raises(Tampered, match="its bytes are damaged"):
        vault.read(part)
    assert vault.unreadable == {"part"}
    client.ill = True
    with pytest.raises(StoreUnavailable):
        vault.read(part)


def test_a_store_that_fails_once_and_then_answers_has_damaged_nothing(vault: Vault, client: Client) -> None:
    part = kept(vault)
    client.hiccups = 1
    assert vault.unsealed(part) == b"rows"


def test_a_store_that_says_to_come_back_has_damaged_nothing(vault: Vault, client: Client) -> None:
    part = kept(vault, damaged=client)
    client.status = 503
    with pytest.raises(StoreUnavailable):
        vault.read(part)


def test_of_a_damaged_version_an_older_one_is_read(vault: Vault, client: Client) -> None:
    part = kept(vault)
    client.kept["part"].append(client.kept["part"][0])
    client.damaged.add(("part", 1))
    assert vault.unsealed(part) == b"rows"
    assert vault.unlisted("part") == client.kept["part"][0]


def test_a_body_that_breaks_off_is_damage_too(vault: Vault, client: Client, tmp_path: Path) -> None:
    kept(vault, damaged=client)
    with pytest.raises(Tampered):
        vault.store.download("part", tmp_path / "copy")


def test_what_is_damaged_can_be_sent_again(vault: Vault, client: Client) -> None:
    kept(vault, damaged=client)
    assert vault.unsealed(kept(vault)) == b"rows"


def test_a_damaged_lease_that_nobody_writes_anew_holds_nobody(vault: Vault, client: Client) -> None:
    client.put_object(Bucket="snapshots", Key=vault_lock.KEY, Body=b"{}")
    client.damaged.add((vault_lock.KEY, 0))
    with vault_lock.hold(vault.store, "a snapshot"):
        pass


def test_a_damaged_lease_that_is_renewed_holds(vault: Vault, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    with vault_lock.hold(vault.store, "a snapshot"):
        held = client.kept[vault_lock.KEY][-1]
        client.damaged.add((vault_lock.KEY, 0))
        monkeypatch.setattr(vault_lock.time, "sleep", lambda _s: client.kept[vault_lock.KEY].append(held))
        with pytest.raises(Conflict, match="a snapshot"), vault_lock.hold(vault.store, "prune"):
            pass
