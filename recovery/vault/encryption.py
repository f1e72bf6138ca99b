"""Encrypts what leaves a region, on the client: parts of the database and logs, compressed, then AES-256-GCM.

A part is at most `PART` bytes before encryption, so memory stays bounded whatever the total size. The name under which
a part is stored is authenticated with it, so one part cannot stand in for another. `snapshot_key` may hold several
keys, one per line: the first encrypts, all of them decrypt, so keys can rotate and old snapshots stay readable.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
import struct

import pyarrow as pa
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from contracts.errors import SettingsError, Tampered
from contracts.settings import Settings

#: Maximum bytes of one part before compression and encryption.
PART = 8 << 20
_HEAD = struct.Struct(">6s12sQ")  # magic, nonce, bytes before compression
_MAGIC = b"CARAV1"
#: Matches each key of a secret that holds several: PEM blocks, or one per line.
_KEYS = re.compile(r"-----BEGIN [^-]+-----.*?-----END [^-]+-----|\S+", re.DOTALL)


class Sealer:
    """Encrypts and decrypts parts."""

    def __init__(self, keys: list[bytes]) -> None:
        self._ciphers = [AESGCM(key) for key in keys]

    @classmethod
    def of(cls, s: Settings) -> Sealer:
        """Build it from the settings. Raises SettingsError when the key is missing or is not a valid key."""
        try:
            keys = [base64.urlsafe_b64decode(line) for line in s.secret("snapshot_key").split()]
        except (binascii.Error, ValueError):
            keys = []
        if not keys or any(len(key) != 32 for key in keys):
            raise SettingsError(
                "CARAVAN_SNAPSHOT_KEY is not 32 bytes in base64", remedy="take it from the copy of the secrets folder"
            )
        return cls(keys)

    def seal(self, data: bytes, name: str) -> bytes:
        """Return `data` compressed and encrypted, as it may leave the region, bound to `name`."""
        nonce = os.urandom(12)
        packed = pa.compress(data, codec="zstd", asbytes=True)
        head = _HEAD.pack(_MAGIC, nonce, len(data))
        return head + bytes(self._ciphers[0].encrypt(nonce, packed, head + name.encode()))

    def unseal(self, sealed: bytes, name: str) -> bytes:
        """Return what was encrypted under `name`.

        Raises Tampered when a bit of it differs, or when none of our keys fits.
        """
        head = sealed[: _HEAD.size]
        if len(head) == _HEAD.size:
            magic, nonce, size = _HEAD.unpack(head)
            for cipher in self._ciphers if magic == _MAGIC else []:
                try:
                    packed = cipher.decrypt(nonce, sealed[_HEAD.size :], head + name.encode())
                    return bytes(pa.decompress(packed, decompressed_size=size, codec="zstd", asbytes=True))
                except InvalidTag:
                    continue
        raise Tampered(
            f"{name} cannot be unsealed: it was changed, or CARAVAN_SNAPSHOT_KEY is not the key it was sealed with",
            remedy="`caravan snapshot verify` names every bad file; the key's fingerprint is in the manifest",
        )


def fingerprint(secret: str) -> str:
    """Return what may be written down about a key.

    It is enough to tell that a key is the same one, and reveals nothing of it.
    """
    return hashlib.sha256(b"caravan key fingerprint\0" + secret.strip().encode()).hexdigest()[:16]


def fingerprints(secret: str) -> set[str]:
    """Return the fingerprints of a secret as it is, and as it may have been before keys were added.

    These are the fingerprints of every run of consecutive keys in it.
    """
    keys = [key.strip() for key in _KEYS.findall(secret)]
    runs = ["\n".join(keys[start:end]) for start in range(len(keys)) for end in range(start + 1, len(keys) + 1)]
    return {fingerprint(secret), *map(fingerprint, runs)}
