"""Tells callers apart: the shop's server with its key, a shopper's browser with a token, or nobody in particular.

The edge finds out and says so in a header of its own; a client's header of that name is replaced. An engine listens
where only processes of this stack reach it, so a request without the header is one of theirs, trusted like the shop.

Only a known caller gets anything personal, sends events, and counts in the judgement of a release.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote, unquote

import jwt
from starlette.requests import Request

#: The edge says here who asks; and which shopper's token came, by the shop's id and by the pseudonym.
CALLER_HEADER = "x-caravan-caller"
USER_HEADER = "x-caravan-user"
PSEUDONYM_HEADER = "x-caravan-pseudonym"
#: A browser's token comes in one of these.
TOKEN_HEADER = "x-shopper-token"  # noqa: S105 - a header's name
TOKEN_COOKIE = "caravan_token"  # noqa: S105 - a cookie's name
ISSUER, ALGORITHM = "caravan", "HS256"
#: Says how to become a known caller.
HOW_TO_ASK = (
    "from the shop's server: authorization: Bearer with the content of secrets/shop_key_<shop>; from a browser: a "
    "token of POST /shopper, in its cookie, in x-shopper-token, or in the field token of a beacon's body"
)
#: Time for which a token is valid.
TOKEN_LIFETIME_S = 7 * 86_400

Kind = Literal["shop", "shopper", "nobody"]


@dataclass(frozen=True, slots=True)
class Caller:
    """The caller of a request. `user`: the shopper of a token, by the shop's id; the shop's key speaks for all."""

    kind: Kind
    user: str | None = None

    @classmethod
    def of(cls, request: Request) -> Caller:
        kind = request.headers.get(CALLER_HEADER, "shop")
        if kind == "shopper":
            user = request.headers.get(USER_HEADER)
            return cls("shopper", unquote(user)) if user else NOBODY
        return SHOP if kind == "shop" else NOBODY

    @property
    def is_known(self) -> bool:
        return self.kind != "nobody"

    def may_speak_for(self, user: str) -> bool:
        """Say whether this caller may ask about `user`, and send their events."""
        return self.kind == "shop" or (self.kind == "shopper" and self.user == user)


NOBODY, SHOP = Caller("nobody"), Caller("shop")


@dataclass(frozen=True, kw_only=True)
class Token:
    """A token, its shopper, and its end (seconds since 1970)."""

    token: str
    user_id: str
    expires: int


class Tokens:
    """The mint and reader of shopper tokens; without a key there are none."""

    def __init__(self, key: str | None) -> None:
        self._key = key

    def mint(self, user: str | None, pseudonym_of: Any, *, now: float | None = None) -> Token | None:
        """Mint a token for `user`, or for a new guest; None without a key. `pseudonym_of` makes the id for the logs."""
        if self._key is None:
            return None
        user, at = user or f"guest-{uuid.uuid4()}", int(now if now is not None else time.time())
        claims = {
            "iss": ISSUER, "sub": user, "uid": quote(user, safe=""), "pid": pseudonym_of(user),
            "iat": at, "exp": at + TOKEN_LIFETIME_S,
        }  # fmt: skip
        token = jwt.encode(claims, self._key, algorithm=ALGORITHM)
        return Token(token=token, user_id=user, expires=at + TOKEN_LIFETIME_S)

    def read_caller(self, token: str) -> Caller:
        """Return the shopper of a token; NOBODY for an invalid one. For a beacon, which can set no header."""
        if self._key is None:
            return NOBODY
        try:
            claims = jwt.decode(
                token, self._key, algorithms=[ALGORITHM], issuer=ISSUER, options={"require": ["exp", "sub"]}
            )
        except jwt.InvalidTokenError:
            return NOBODY
        return Caller("shopper", str(claims["sub"]))
