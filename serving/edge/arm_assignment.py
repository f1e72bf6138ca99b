"""Assigns every request to an arm, the same one for the same shopper: an opaque id, salted for each canary.

Weighted clusters hash on a header that only the edge sets. Without the salt the same shoppers would meet every canary.
"""

from __future__ import annotations

from contracts.events import MAX_ID
from serving.callers import PSEUDONYM_HEADER

#: The opaque id that splits hash on: a shop's server may send it, for browsers the edge keeps it in a cookie.
SHOPPER_HEADER = "x-shopper-id"
SHOPPER_COOKIE = "caravan_shopper"
#: The value that splits hash on: the shopper's id with the salt of the running release, so that not always the same
#: shoppers meet a canary. And the arm that was meant for the shopper, whichever engine answered in the end. Both are
#: the edge's own: values that a client sends under these names are replaced.
SPLIT_HEADER = "x-caravan-split"
ARM_HEADER = "x-caravan-arm"
#: Says in the access log that the edge read a request: of one that Envoy turned away before, the arm in the log is
#: only its sender's claim.
READ = "read"
#: Envoy appends this to the host of a mirrored request: no client may ask under such a name.
SHADOW = "-shadow"
#: The same as a Lua pattern.
SHADOW_HOST = SHADOW.replace("-", "%-")
#: Set by the engine: the release that answered. For the access log alone: from it a client would learn its arm.
RELEASE_HEADER = "x-caravan-release"
COOKIE_DAYS = 365
#: Names in the access log the id that the edge made for this very request, as none came: one request is no shopper.
MINTED = "minted"
#: What a shop's server may send as its shopper's id: it is logged, so every character must be one of a log's.
SHOPPER_ID = f"1 to {MAX_ID} visible ASCII characters, without blanks"

#: Gives every request the shopper header: the shop's own or that of a token, else the cookie's, else a new id that goes
#: into the cookie.
ASSIGN_ARM = f"""
local function clean(id)
  if id ~= nil and #id <= {MAX_ID} and string.find(id, "^[!-~]+$") then return id end
  return nil
end
function envoy_on_request(handle)
  local headers = handle:headers()
  headers:remove("{ARM_HEADER}")
  handle:streamInfo():dynamicMetadata():set("caravan", "{READ}", "1")
  if string.find(headers:get(":authority") or "", "{SHADOW_HOST}%f[:%z]") then
    return refuse(handle, "400", "this host name is kept for copies", "ask under the name that the address has")
  end
  local caller = caller_of(handle)
  if caller == nil then return end
  local salt = handle:metadata():get("salt") or ""
  local id = nil
  if caller == "shop" then
    local given = headers:get("{SHOPPER_HEADER}")
    id = clean(given)
    if given ~= nil and given ~= "" and (id == nil or headers:getNumValues("{SHOPPER_HEADER}") > 1) then
      return refuse(handle, "400", "{SHOPPER_HEADER}: it is not an id that keeps a shopper's arm",
        "send one header with {SHOPPER_ID}: percent-encode or hash anything else")
    end
  elseif caller == "shopper" then
    id = clean(headers:get("{PSEUDONYM_HEADER}"))
    headers:replace("{SHOPPER_HEADER}", id or "")
  end
  if id ~= nil then
    headers:replace("{SPLIT_HEADER}", salt .. ":" .. id)
    return
  end
  for name, value in string.gmatch(headers:get("cookie") or "", "([%w_]+)=([^;]*)") do
    if name == "{SHOPPER_COOKIE}" and string.find(value, "^[%w._%-]+$") then id = clean(value) end
  end
  if id == nil then
    id = headers:get("x-request-id")
    handle:streamInfo():dynamicMetadata():set("caravan", "{MINTED}", id)
  end
  headers:replace("{SHOPPER_HEADER}", id)
  headers:replace("{SPLIT_HEADER}", salt .. ":" .. id)
end
function envoy_on_response(handle)
  local headers = handle:headers()
  local release = headers:get("{RELEASE_HEADER}")
  if release ~= nil then
    handle:streamInfo():dynamicMetadata():set("caravan", "release", release)
    headers:remove("{RELEASE_HEADER}")
  end
  local found = handle:streamInfo():dynamicMetadata():get("caravan")
  if found ~= nil and found["{MINTED}"] ~= nil then
    handle:headers():add("set-cookie", "{SHOPPER_COOKIE}=" .. found["{MINTED}"]
      .. "; Max-Age={COOKIE_DAYS * 86400}; Path=/; HttpOnly; SameSite=Lax")
  end
end
"""
