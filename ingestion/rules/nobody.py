"""Says which shoppers are nobody: the one rule for files, `POST /events`, `POST /recommend` and the night.

By name: what a program writes where no one is signed in. Thousands of people share such a name, so a history of it is
no one's: no personal answer, no training. By share, over a whole day: a name that we do not know does what no person
can do. It is told in the day's report, and never held against the day.
"""

from __future__ import annotations

import re
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

#: As they are written, small, in the languages of people who name variables; only letters and digits count.
_WRITTEN: Final = [
    "undefined",
    "null",
    "nil",
    "none",
    "nan",
    "nat",
    "na",
    "void",
    "empty",
    "missing",
    "unset",
    "default",
    "unknown",
    "notset",
    "notavailable",
    "notapplicable",
    "objectobject",
    "objectnull",
    "objectundefined",
    "objecthtmlelement",
    "objectpromise",
    "objectwindow",
    "functionanonymous",
    "symbol",
    "nobody",
    "noone",
    "noname",
    "nouser",
    "noid",
    "nouserid",
    "nologin",
    "unidentified",
    "unregistered",
    "unauthenticated",
    "unauthorized",
    "notauthenticated",
    "notloggedin",
    "notsignedin",
    "loggedout",
    "signedout",
    "logout",
    "deleted",
    "deleteduser",
    "guest",
    "guests",
    "guestuser",
    "guestcustomer",
    "guestaccount",
    "guestcheckout",
    "anonymous",
    "anonymoususer",
    "anonymouscustomer",
    "anonymousvisitor",
    "anon",
    "anonuser",
    "unknownuser",
    "unknowncustomer",
    "unknownvisitor",
    "undefineduser",
    "nulluser",
    "defaultuser",
    "visitor",
    "visitors",
    "user",
    "users",
    "userid",
    "customer",
    "customerid",
    "shopper",
    "shopperid",
    "member",
    "memberid",
    "client",
    "clientid",
    "visitorid",
    "uid",
    "uuid",
    "guid",
    "username",
    "login",
    "sessionid",
    "gast",
    "gastbenutzer",
    "anonym",
    "unbekannt",
    "invité",
    "invite",
    "anonyme",
    "inconnu",
    "invitado",
    "anónimo",
    "anonimo",
    "desconocido",
    "convidado",
    "desconhecido",
    "ospite",
    "sconosciuto",
    "bezoeker",
    "anoniem",
    "onbekend",
    "gość",
    "gosc",
    "anonimowy",
    "gæst",
    "gäst",
    "gjest",
    "vieras",
    "misafir",
    "anonim",
    "гость",
    "аноним",
    "неизвестно",
    "επισκέπτης",
    "ゲスト",
    "匿名",
    "游客",
    "訪客",
    "访客",
    "손님",
    "익명",
    "ضيف",
    "مجهول",
    "אורח",
    "अतिथि",
    "true",
    "false",
    "yes",
    "no",
]
#: A placeholder that no template engine has filled in.
_PLACEHOLDER = re.compile(
    r"\{\{.*\}\}|\$\{.*\}|<%.*%>|%[A-Za-z_.]*(?:user|id)[A-Za-z_.]*%|\{(?:user|customer|shopper)_?id\}", re.I
)
_LONGEST = 64
_MARKS = re.compile(r"[\W_]+")
_COUNTED = re.compile(r"[1-9]")
#: A shopper does more than a person can with so many actions on a day, in such a share of the day's, and so many times
#: as many as nine of ten shoppers; all three, among at least so many shoppers.
LEAST_ACTIONS, LEAST_SHARE, LEAST_TIMES, LEAST_SHOPPERS = 200, 0.05, 20, 20


def _key(name: str) -> str:
    return _MARKS.sub("", name).casefold()


NAMES: Final = frozenset(_key(name) for name in _WRITTEN)


def is_nobody(user_id: str) -> bool:
    """Say whether `user_id` is what a program writes where no one is signed in."""
    if _COUNTED.search(user_id):  # the quick way out for nearly every identifier
        return user_id.strip() == "-1"
    key = _key(user_id)
    if len(key) > _LONGEST:
        return False
    # dashes and dots alone, zeros in any form (also of a UUID, whose largest is of f alone), a name, an empty slot
    return not key.strip("0") or key in NAMES or key == "f" * 32 or bool(_PLACEHOLDER.fullmatch(user_id.strip()))


def somebody(column: Any) -> Any:
    """Return which rows of a column of shoppers are somebody's; true where it is empty."""
    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    encoded = column.dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):  # of no chunk at all
        return pa.array([], pa.bool_())
    known = pa.array([not is_nobody(name) for name in encoded.dictionary.to_pylist()], pa.bool_())
    return pc.fill_null(known.take(encoded.indices), True)


def crowds(user_ids: pa.ChunkedArray | pa.Array) -> pa.Array:
    """Return the shoppers of a day's rows, by whatever name, who did more than one person can."""
    counted = pc.value_counts(user_ids)
    names, counts = counted.field("values"), np.asarray(counted.field("counts"))
    if len(counts) < LEAST_SHOPPERS:
        return names.slice(0, 0)
    usual = np.quantile(counts, 0.9, method="lower")
    much = (counts >= LEAST_ACTIONS) & (counts >= LEAST_SHARE * counts.sum()) & (counts >= LEAST_TIMES * usual)
    return names.filter(pa.array(much))
