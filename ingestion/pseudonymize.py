"""Hashes every identifier of a person with a key, so that the lake never holds one in the clear.

BLAKE2b with a secret key: without the key no one can try out identifiers against the hashes, with it the same
shopper always gets the same name, so events of different days and of the engines still meet.
"""

from __future__ import annotations

import hashlib
import re

import pyarrow as pa
import pyarrow.compute as pc

from contracts.errors import SettingsError

#: Columns that name a person or one visit of a person.
PERSONAL = ("user_id", "session_id")
PSEUDONYM = re.compile(r"^u_[0-9a-f]{32}$")
EMAIL = r"[A-Za-z0-9._%+\-]{1,64}@[A-Za-z0-9.\-]{1,190}\.[A-Za-z]{2,24}"
EMAIL_PATTERN = re.compile(EMAIL)
REDACTED = "[email]"
_MIN_KEY = 16


class Pseudonymizer:
    """Hashes identifiers with one secret key of at least 16 characters."""

    def __init__(self, key: str) -> None:
        if len(key) < _MIN_KEY:
            raise SettingsError(
                f"the pseudonym key has {len(key)} characters, at least {_MIN_KEY} are needed",
                remedy="set CARAVAN_PSEUDONYM_KEY to a long random value, or let `caravan up` generate one",
            )
        digest = hashlib.blake2b(key.encode(), digest_size=64).digest()  # any length of key becomes 64 bytes
        self._keyed = hashlib.blake2b(key=digest, digest_size=16)

    def hash(self, value: str) -> str:
        """Return `u_` and 32 hexadecimal digits; the same value always gives the same name."""
        state = self._keyed.copy()
        state.update(value.encode("utf-8", "surrogatepass"))
        return f"u_{state.hexdigest()}"

    def hash_column(self, column: pa.Array | pa.ChunkedArray) -> pa.Array:
        """Hash every string of the column, keep nulls; each distinct value is hashed once."""
        encoded = pc.dictionary_encode(column)
        if isinstance(encoded, pa.ChunkedArray):
            encoded = encoded.combine_chunks() if encoded.num_chunks != 1 else encoded.chunk(0)
        if isinstance(encoded, pa.ChunkedArray):  # combine_chunks of no chunk at all
            return pa.array([], pa.string())
        names = pa.array([self.hash(v) if v is not None else None for v in encoded.dictionary.to_pylist()], pa.string())
        return names.take(encoded.indices)


def redact(column: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Replace what looks like an e-mail address: people type their own into search boxes."""
    return pc.replace_substring_regex(column, EMAIL, REDACTED)
