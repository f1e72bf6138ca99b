"""Only what our key signed is read, and a changed byte is seen before any file is opened."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from artifacts.publish import manifest_key, publish
from artifacts.signature import new_signing_key, sign, signature_key, verify
from contracts.errors import SettingsError, Tampered
from contracts.settings import Settings
from tests.fakes import MemoryStore


def public_half(private: str) -> str:
    key = load_pem_private_key(private.encode(), None).public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


@pytest.fixture
def released(tmp_path: Path) -> tuple[MemoryStore, str]:
    folder = tmp_path / "release"
    folder.mkdir()
    (folder / "weights").write_bytes(b"weights")
    store = MemoryStore()
    return store, publish(store, folder, kind="release").digest


def test_a_signed_release_is_verified_with_the_public_key_alone(released: tuple[MemoryStore, str]) -> None:
    store, digest = released
    private = new_signing_key()
    sign(store, digest, Settings(signing_key=private))
    verify(store, digest, Settings(verify_keys=public_half(private)))


def test_signing_again_changes_no_byte(released: tuple[MemoryStore, str]) -> None:
    store, digest = released
    s = Settings(signing_key=new_signing_key())
    sign(store, digest, s)
    written = len(store.puts)
    sign(store, digest, s)
    assert len(store.puts) == written


def test_a_rotated_key_still_verifies_old_releases(released: tuple[MemoryStore, str]) -> None:
    store, digest = released
    old, new = new_signing_key(), new_signing_key()
    sign(store, digest, Settings(signing_key=old))
    verify(store, digest, Settings(signing_key=new, verify_keys=public_half(old)))


DEEP = b'{"mediaType": ' + b"[" * 100_000


@pytest.mark.parametrize("signature", [None, b"", b"{}", b'{"dsseEnvelope": 1}', b"\x80\x04\x95garbage", DEEP])
def test_no_signature_or_garbage_is_refused(released: tuple[MemoryStore, str], signature: bytes | None) -> None:
    store, digest = released
    if signature is not None:
        store.objects[signature_key(digest)] = signature
    with pytest.raises(Tampered):
        verify(store, digest, Settings(signing_key=new_signing_key()))


def flipped(text: str) -> str:
    """The same base64 with another bit of what it stands for."""
    data = bytearray(base64.b64decode(text))
    data[len(data) // 2] ^= 1
    return base64.b64encode(bytes(data)).decode()


def another_signature(bundle: dict[str, Any]) -> None:
    bundle["dsseEnvelope"]["signatures"][0]["sig"] = flipped(bundle["dsseEnvelope"]["signatures"][0]["sig"])


def another_payload(bundle: dict[str, Any]) -> None:
    bundle["dsseEnvelope"]["payload"] = flipped(bundle["dsseEnvelope"]["payload"])


def no_signature_in_it(bundle: dict[str, Any]) -> None:
    bundle["dsseEnvelope"]["signatures"] = []


@pytest.mark.parametrize("change", [another_signature, another_payload, no_signature_in_it])
def test_a_signature_that_was_changed_is_refused_and_can_be_replaced(
    released: tuple[MemoryStore, str], change: Callable[[dict[str, Any]], None]
) -> None:
    store, digest = released
    s = Settings(signing_key=new_signing_key())
    sign(store, digest, s)
    bundle = json.loads(store.objects[signature_key(digest)])
    change(bundle)
    store.objects[signature_key(digest)] = json.dumps(bundle).encode()
    with pytest.raises(Tampered, match="trust"):
        verify(store, digest, s)
    sign(store, digest, s)
    verify(store, digest, s)


def test_another_key_that_gives_itself_out_as_ours_is_refused(released: tuple[MemoryStore, str]) -> None:
    store, digest = released
    ours, foreign = Settings(signing_key=new_signing_key()), Settings(signing_key=new_signing_key())
    hints = []
    for s in (ours, foreign):
        store.objects.pop(signature_key(digest), None)
        sign(store, digest, s)
        bundle = json.loads(store.objects[signature_key(digest)])
        hints.append(bundle["verificationMaterial"]["publicKey"]["hint"])
    bundle["verificationMaterial"]["publicKey"]["hint"] = hints[0]
    store.objects[signature_key(digest)] = json.dumps(bundle).encode()
    with pytest.raises(Tampered, match="trust"):
        verify(store, digest, ours)


def test_a_disk_that_fails_says_nothing_of_the_signature(
    released: tuple[MemoryStore, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, digest = released
    s = Settings(signing_key=new_signing_key())
    sign(store, digest, s)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("model_signing.verifying.Config.verify", full)
    with pytest.raises(OSError, match="No space"):
        verify(store, digest, s)


def test_another_key_or_another_release_is_refused(released: tuple[MemoryStore, str], tmp_path: Path) -> None:
    store, digest = released
    s = Settings(signing_key=new_signing_key())
    sign(store, digest, s)
    with pytest.raises(Tampered, match="trust"):
        verify(store, digest, Settings(signing_key=new_signing_key()))
    other_folder = tmp_path / "other"
    other_folder.mkdir()
    (other_folder / "weights").write_bytes(b"other")
    other = publish(store, other_folder, kind="release").digest
    store.objects[signature_key(other)] = store.objects[signature_key(digest)]
    with pytest.raises(Tampered):
        verify(store, other, s)
    store.objects[manifest_key(digest)] = store.objects[manifest_key(other)]
    with pytest.raises(Tampered):
        verify(store, digest, s)


def test_without_a_key_nothing_is_signed_and_the_remedy_is_named(released: tuple[MemoryStore, str]) -> None:
    store, digest = released
    with pytest.raises(SettingsError, match="signing_key"):
        sign(store, digest, Settings())
