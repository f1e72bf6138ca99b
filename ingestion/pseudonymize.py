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
from contracts.events import MAX_QUERY

#: Columns that name a person or one visit of a person.
PERSONAL = ("user_id", "session_id")
PSEUDONYM = re.compile(r"^u_[0-9a-f]{32}$")
UNHASHED = "[not hashed]"
#: The sign between the two parts of an address, as people, keyboards of other scripts, links and pages write it.
_AT = r"(?:[@\x{FF20}\x{FE6B}]|%(?:25)*40|&(?:#0*64|#[xX]0*40|commat);|[(\[{] ?(?:at|AT|At) ?[)\]}])"
_DOT = r"(?:[.\x{3002}\x{FF0E}\x{FF61}]|%(?:25)*2[eE]|[(\[{] ?(?:dot|DOT|Dot) ?[)\]}])"
#: What a part of an address cannot hold: blanks, quotes, brackets, marks of a sentence, and the signs themselves.
_ENDS = (
    r"\x00-\x20\x7F\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000}"
    r'"(),:;<>@\[\\\]{}\x{FF20}\x{FE6B}\x{3001}\x{FF0C}'
)
_LABEL = rf"[^{_ENDS}.\x{{3002}}\x{{FF0E}}\x{{FF61}}!#$%&'*+/=?^`|~]+"
_LAST = rf"(?:[xX][nN]--[A-Za-z0-9\-]+|[^{_ENDS}.\x{{3002}}\x{{FF0E}}\x{{FF61}}!#$%&'*+/=?^_`|~0-9\-]{{2,}})"
#: An address in every form of RFC 6531: names and domains of every script, quoted names, addresses of machines.
EMAIL = (
    rf'(?:"[^"]+"|[^{_ENDS}]+) ?{_AT} ?'
    rf"(?:(?:{_LABEL}{_DOT})+{_LAST}|\[[0-9A-Za-z:.]+\]|[0-9]{{1,3}}(?:\.[0-9]{{1,3}}){{3}})"
)
EMAIL_PATTERN = re.compile(re.sub(r"\\x\{([0-9A-F]+)\}", lambda m: f"\\u{int(m[1], 16):04x}", EMAIL))
#: Text without any of these holds no address; most texts are done with this question.
_AT_PATTERN = re.compile(r"[@%&(\[{\uff20\ufe6b]")
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


def keep_pseudonym(value: str) -> str:
    """Return a value of rows that are hashed already; by any other door, what looks like a pseudonym is an identifier.

    A clear identifier among such rows is left out: whoever asks has no key.
    """
    return value if PSEUDONYM.match(value) else UNHASHED


def redact_text(text: str) -> str:
    """Replace what looks like an e-mail address: people type their own into search boxes."""
    if not _AT_PATTERN.search(text):
        return text
    return EMAIL_PATTERN.sub(REDACTED, text)[: max(len(text), MAX_QUERY)]


def redact(column: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Replace e-mail addresses in a column, as `redact_text` does in one text."""
    told = pc.fill_null(pc.match_substring_regex(column, EMAIL), False)
    if not pc.any(told).as_py():
        return column
    if isinstance(column, pa.ChunkedArray):
        column, told = column.combine_chunks(), told.combine_chunks()
    texts = [redact_text(text) for text in column.filter(told).to_pylist()]
    return pc.replace_with_mask(column, told, pa.array(texts, column.type))
