"""Who asks: the shop's server with its key, a shopper's browser with a token, or nobody in particular.

The edge finds out and says so in a header of its own; what a client sends under that name is replaced. An engine
listens where only our own processes reach it, so a request without the header is one of ours, trusted like the shop.

Only who is known gets anything personal, sends events, and counts in the judgement of a release.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote, unquote

import jwt
from starlette.requests import Request

#: What the edge says of who asks; and of the shopper whose token came: as the shop knows them, and by our pseudonym.
CALLER_HEADER = "x-caravan-caller"
USER_HEADER = "x-caravan-user"
PSEUDONYM_HEADER = "x-caravan-pseudonym"
#: Where a browser's token comes in.
TOKEN_HEADER = "x-shopper-token"  # noqa: S105 - a header's name
TOKEN_COOKIE = "caravan_token"  # noqa: S105 - a cookie's name
ISSUER, ALGORITHM = "caravan", "HS256"
#: How to be known.
HOW_TO_ASK = (
    "from the shop's server: authorization: Bearer with the content of secrets/shop_key_<shop>; from a browser: a "
    "token of POST /shopper, in its cookie, in x-shopper-token, or in the field token of a beacon's body"
)
#: Seconds that a token is good for.
LIFETIME = 7 * 86_400

Kind = Literal["shop", "shopper", "nobody"]


@dataclass(frozen=True, slots=True)
class Caller:
    """`user` is the shopper of a token, as the shop knows them; who has the shop's key speaks for all."""

    kind: Kind
    user: str | None = None

    @classmethod
    def of(cls, request: Request) -> Caller:
        said = request.headers.get(CALLER_HEADER, "shop")
        if said == "shopper":
            user = request.headers.get(USER_HEADER)
            return cls("shopper", unquote(user)) if user else NOBODY
        return SHOP if said == "shop" else NOBODY

    @property
    def is_known(self) -> bool:
        return self.kind != "nobody"

    def may_speak_for(self, user: str) -> bool:
        """Whether this one may ask about `user`, or tell what they did."""
        return self.kind == "shop" or (self.kind == "shopper" and self.user == user)


NOBODY, SHOP = Caller("nobody"), Caller("shop")


@dataclass(frozen=True, kw_only=True)
class Token:
    """A token, whose it is, and when it ends (seconds since 1970)."""

    token: str
    user_id: str
    expires: int


class Tokens:
    """Mints and reads shopper tokens; without a key there are none."""

    def __init__(self, key: str | None) -> None:
        self._key = key

    def mint(self, user: str | None, pseudonym_of: Any, *, now: float | None = None) -> Token | None:
        """A token for `user`, or for a new guest; None without a key. `pseudonym_of` makes the id that is logged."""
        if self._key is None:
            return None
        user, at = user or f"guest-{uuid.uuid4()}", int(now if now is not None else time.time())
        claims = {
            "iss": ISSUER, "sub": user, "uid": quote(user, safe=""), "pid": pseudonym_of(user),
            "iat": at, "exp": at + LIFETIME,
        }  # fmt: skip
        return Token(token=jwt.encode(claims, self._key, algorithm=ALGORITHM), user_id=user, expires=at + LIFETIME)

    def caller(self, token: str) -> Caller:
        """Whose token it is; NOBODY for one that is no good. For a beacon, which can set no header."""
        if self._key is None:
            return NOBODY
        try:
            claims = jwt.decode(
                token, self._key, algorithms=[ALGORITHM], issuer=ISSUER, options={"require": ["exp", "sub"]}
            )
        except jwt.InvalidTokenError:
            return NOBODY
        return Caller("shopper", str(claims["sub"]))
