"""Configures how the edge finds out who asks: by the shop's key, or by a shopper's token; anyone else is nobody.

Envoy's `api_key_auth` has no optional mode, so the key is compared where shoppers get their ids, in Lua; `jwt_authn`
verifies tokens. A wrong key or token is refused with a remedy, so that a shop never silently counts as nobody.
"""

from __future__ import annotations

import base64
import json

from contracts.settings import Settings
from serving.callers import (
    ALGORITHM,
    CALLER_HEADER,
    ISSUER,
    PSEUDONYM_HEADER,
    TOKEN_COOKIE,
    TOKEN_HEADER,
    USER_HEADER,
)
from serving.edge import envoy
from serving.edge.client_address import ORIGIN
from serving.edge.envoy import Yaml
from serving.edge.replies import NAMESPACE, REMEDY

#: Tokens that are minted per second without the shop's key, and the burst above that.
MINTS_PER_S, MINT_BURST = 20, 200

#: Lua: answers by itself, with a remedy that the edge's form of errors picks up.
REFUSE = f"""
local function refuse(handle, status, what, remedy)
  handle:streamInfo():dynamicMetadata():set("{NAMESPACE}", "{REMEDY}", remedy)
  handle:respond({{[":status"] = status}}, what)
  return nil
end
"""
#: Lua: headers that some servers take for others (x_a for x-a) are refused here, by name; Envoy itself cannot name one.
_NAME_UNDERSCORES = """
  for name in pairs(handle:headers()) do
    if string.find(name, "_", 1, true) then
      return refuse(handle, "400", string.sub(name, 1, 60) .. ": a header's name has no underscore here",
        "leave it out, or write hyphens")
    end
  end
"""


def make_caller_filters(s: Settings) -> list[Yaml]:
    """Make the filters before the shopper's id is found: drop what a client claims to be, then verify its token."""
    forget = "".join(
        f'  handle:headers():remove("{name}")\n' for name in (CALLER_HEADER, USER_HEADER, PSEUDONYM_HEADER)
    )
    script = f"{REFUSE}function envoy_on_request(handle)\n{_NAME_UNDERSCORES}{forget}end\n"
    found = [envoy.make_lua_filter("forget-claims", script)]
    if s.token_key is None:
        return found
    key = base64.urlsafe_b64encode(s.secret("token_key").encode()).decode().rstrip("=")
    keys = {"keys": [{"kty": "oct", "alg": ALGORITHM, "k": key}]}
    provider = {
        "issuer": ISSUER,
        "from_headers": [{"name": TOKEN_HEADER}],
        "from_cookies": [TOKEN_COOKIE],
        "local_jwks": {"inline_string": json.dumps(keys)},
        "claim_to_headers": [
            {"header_name": USER_HEADER, "claim_name": "uid"},
            {"header_name": PSEUDONYM_HEADER, "claim_name": "pid"},
        ],
        "require_expiration": True,
    }
    optional = {"requires_any": {"requirements": [{"provider_name": "shopper"}, {"allow_missing": {}}]}}
    config = {
        "@type": f"{envoy.HTTP_FILTER}jwt_authn.v3.JwtAuthentication",
        "providers": {"shopper": provider},
        "rules": [{"match": {"prefix": "/"}, "requires": optional}],
    }
    return [*found, envoy.make_extension("envoy.filters.http.jwt_authn", config)]


def make_caller_script(s: Settings) -> str:
    """Make the Lua that says who asks: `caller_of(handle)` gives the kind, or nil after it has answered by itself."""
    key = f'"Bearer {s.shop_key}"' if s.shop_key else "nil"
    return f"""
local shop_key = {key}
local function caller_of(handle)
  local headers = handle:headers()
  local given = headers:get("authorization")
  headers:remove("authorization")
  local origin = origin_of(handle)
  local kind = "nobody"
  if given ~= nil then
    if shop_key == nil or given ~= shop_key then
      return refuse(handle, "401", "authorization: the key is not this shop's",
        "send authorization: Bearer with the content of secrets/shop_key_{s.shop}, or no authorization at all")
    end
    kind = "shop"
  elseif headers:get("{USER_HEADER}") ~= nil then
    kind = "shopper"
  end
  if kind == "shopper" then handle:streamInfo():dynamicMetadata():set("caravan", "{ORIGIN}", origin) end
  headers:replace("{CALLER_HEADER}", kind)
  handle:streamInfo():dynamicMetadata():set("caravan", "caller", kind)
  return kind
end
"""


def make_mint_limit() -> Yaml:
    """Make the rate limit of the route on which tokens are minted."""
    limit = envoy.make_rate_limit("mint_rate", burst=MINT_BURST, fill=MINTS_PER_S, every="1s")
    return {"envoy.filters.http.local_ratelimit": limit}
