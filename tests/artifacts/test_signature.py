"""Only what our key signed is read, and a changed byte is seen before any file is opened."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from artifacts.publish import manifest_key, publish
from artifacts.signature import fetch_signed, new_signing_key, sign, signature_key, verify
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


def test_a_signed_release_is_read_with_the_public_key_alone(released: tuple[MemoryStore, str], tmp_path: Path) -> None:
    store, digest = released
    private = new_signing_key()
    sign(store, digest, Settings(signing_key=private))
    copy = fetch_signed(store, digest, tmp_path / "cache", Settings(verify_keys=public_half(private)))
    assert (copy / "weights").read_bytes() == b"weights"


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


@pytest.mark.parametrize("signature", [None, b"", b"{}", b'{"dsseEnvelope": 1}', b"\x80\x04\x95garbage"])
def test_no_signature_or_garbage_is_refused(released: tuple[MemoryStore, str], signature: bytes | None) -> None:
    store, digest = released
    if signature is not None:
        store.objects[signature_key(digest)] = signature
    with pytest.raises(Tampered):
        verify(store, digest, Settings(signing_key=new_signing_key()))


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
