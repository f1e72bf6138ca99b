"""Makes the OpenAPI document of the shop's API, as it is reached through the edge; needs no engine."""

from __future__ import annotations

from typing import Any, cast

from serving.callers import TOKEN_COOKIE, TOKEN_HEADER
from serving.http.app import make_api
from serving.http.parts import Parts


def make_document(address: str, shop: str) -> dict[str, Any]:
    """Return the routes of the edge at `address`, and their answers, as an OpenAPI document."""
    found = make_api(cast(Parts, None)).openapi()  # no request ever comes to this one
    words = _TRY.format(address=address, shop=shop, cookie=TOKEN_COOKIE, header=TOKEN_HEADER)
    about = {"title": "The shop's API", "description": words}
    servers = [{"url": address, "description": "the edge of the region that is active"}]
    return {**found, "info": found["info"] | about, "servers": servers}


_TRY = """Every answer is JSON; every error says what is wrong and what to do.

**Who asks.** The shop's own server sends `authorization: Bearer KEY`, the content of `secrets/shop_key_{shop}`, and
speaks for every shopper. A browser has a token of `POST /shopper` in the cookie `{cookie}`, in `{header}`, or in the
field `token` of a beacon's body, and speaks for its own shopper. Without either, an answer depends on no
shopper, and no event is taken. To try it:

```
KEY=$(cat "$CARAVAN_HOME/secrets/shop_key_{shop}")
curl -s {address}/recommend -H "authorization: Bearer $KEY" --json '{{"user_id": "shopper-7", "k": 5}}'
curl -s '{address}/search?q=lamp&k=5'
```
"""
