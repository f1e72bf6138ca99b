"""Signs releases and verifies them: OpenSSF model-signing with our elliptic key, no network.

What is signed is the canonical manifest, which names every file with its size and SHA-256: one small signature
covers the whole release. It is kept at `signatures/<digest>.json` (a Sigstore bundle), because signing the same
manifest twice gives different bytes and so cannot be part of what the digest names.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from artifacts.publish import Store, read_manifest
from contracts.errors import Conflict, NotFound, SettingsError, Tampered
from contracts.settings import Settings

_PUBLIC_KEY = re.compile(r"-----BEGIN PUBLIC KEY-----.+?-----END PUBLIC KEY-----", re.S)


def signature_key(digest: str) -> str:
    return f"signatures/{digest}.json"


def new_signing_key() -> str:
    """Make a private key (P-256), in PEM."""
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def sign(store: Store, digest: str, s: Settings) -> None:
    """Sign the published manifest `digest`, unless a signature that we trust is there already."""
    from model_signing import signing

    try:
        verify(store, digest, s)
    except Tampered:
        manifest = read_manifest(store, digest)
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            key, signature = root / "key", root / "signature"
            key.touch(mode=0o600)
            key.write_text(s.secret("signing_key"))
            signing.Config().use_elliptic_key_signer(private_key=key).sign(
                _laid_out(root, manifest.to_bytes()), signature
            )
            try:
                store.put(signature_key(digest), signature.read_bytes(), if_absent=True)
            except Conflict:  # a signature we do not trust, or one that another process has just put there
                store.put(signature_key(digest), signature.read_bytes())


def verify(store: Store, digest: str, s: Settings) -> None:
    """Raise Tampered unless the manifest `digest` is signed by a key we trust.

    Trusted are the public keys in `verify_keys` (PEM, one after the other: the present one and those it
    replaced), and the public half of our own signing key.
    """
    manifest = read_manifest(store, digest)
    try:
        bundle = store.get(signature_key(digest))
    except NotFound:
        raise Tampered(
            f"{manifest.kind} {digest[:12]} is not signed", remedy="only what the registry step published may be served"
        ) from None
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        signature, key = root / "signature", root / "key"
        signature.write_bytes(bundle)
        signed = _laid_out(root, manifest.to_bytes())
        for public in _trusted(s):
            key.write_text(public)
            if _signed_by(key, signed, signature):
                return
    raise Tampered(
        f"the signature of {manifest.kind} {digest[:12]} is not by a key we trust",
        remedy="check CARAVAN_VERIFY_KEYS; if the key is right, publish the release again",
    )


def sign_bytes(data: bytes, s: Settings) -> str:
    """Sign what is no published directory: plain ECDSA (SHA-256, hexadecimal) by our signing key."""
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    key = load_pem_private_key(s.secret("signing_key").encode(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise SettingsError("the signing key is not an elliptic key", remedy="make one: artifacts.signature")
    return key.sign(data, ec.ECDSA(SHA256())).hex()


def verify_bytes(data: bytes, signature: str, s: Settings) -> bool:
    """Say whether one of the keys we trust made this signature of `data`."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    for public in _trusted(s):
        key = load_pem_public_key(public.encode())
        try:
            if isinstance(key, ec.EllipticCurvePublicKey):
                key.verify(bytes.fromhex(signature), data, ec.ECDSA(SHA256()))
                return True
        except (InvalidSignature, ValueError):
            continue
    return False


def _signed_by(key: Path, signed: Path, signature: Path) -> bool:
    from model_signing import verifying

    try:
        verifying.Config().use_elliptic_key_verifier(public_key=key).verify(signed, signature)
    except OSError:  # our own disk: it says nothing of the signature
        raise
    except Exception:  # another key's, or no signature at all: the library raises any error that occurs while it reads
        return False
    return True


def _laid_out(root: Path, manifest: bytes) -> Path:
    folder = root / "signed"
    folder.mkdir()
    (folder / "manifest.json").write_bytes(manifest)
    return folder


def _trusted(s: Settings) -> list[str]:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

    keys = _PUBLIC_KEY.findall(s.verify_keys.get_secret_value()) if s.verify_keys else []
    if s.signing_key:
        own = load_pem_private_key(s.signing_key.get_secret_value().encode(), None).public_key()
        keys.append(own.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())
    return keys
