"""Configures how the edge finds out from which address a shopper's token came: the origin of a shopper.

A region's edge sees the address of whoever connects. Behind the global edge that is the global edge, so it says the
address that it saw, in a header of its own that begins with a word which only our edges know. What a client sends
under that name, or in `x-forwarded-for`, is not believed.
"""

from __future__ import annotations

import hashlib
import hmac

from contracts.settings import Settings

#: The global edge says here which address it saw: its word, a blank, the address.
ORIGIN_HEADER = "x-caravan-origin"
#: The field of the access log. Only lines of shoppers with a token have it.
ORIGIN = "origin"


def edge_word(s: Settings) -> str | None:
    """Return the word by which a region's edge knows the global edge; None without a key to make it from."""
    if s.token_key is None:
        return None
    return hmac.new(s.secret("token_key").encode(), b"caravan: the global edge", hashlib.sha256).hexdigest()


def make_origin_script(s: Settings) -> str:
    """Make the Lua that takes the global edge's header away: `origin_of(handle)` gives the address of the client."""
    word = edge_word(s)
    expected = f'"{word} "' if word else "nil"
    return f"""
local word = {expected}
local function origin_of(handle)
  local headers = handle:headers()
  local given = headers:get("{ORIGIN_HEADER}")
  local alone = headers:getNumValues("{ORIGIN_HEADER}") == 1
  headers:remove("{ORIGIN_HEADER}")
  if word ~= nil and alone and string.sub(given, 1, #word) == word then
    return string.sub(given, #word + 1)
  end
  local address = string.gsub(handle:streamInfo():downstreamDirectRemoteAddress(), ":%d+$", "")
  return (string.gsub(address, "[%[%]]", ""))
end
"""


def make_origin_header(s: Settings) -> list[dict[str, object]]:
    """Make the header that the global edge adds to what it passes on."""
    word = edge_word(s)
    value = f"{word} %DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%" if word else "-"
    return [{"header": {"key": ORIGIN_HEADER, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}]
