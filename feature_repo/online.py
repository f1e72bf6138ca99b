"""Reads and writes Feast's layout of features in Redis, as far as reading and pushing need it.

The format is Feast's documented one (online store format, entity keys of version 3). Importing Feast itself costs
ten seconds and 300 MB, which a serving engine should not pay: only its generated protobuf module is loaded, by
path. Tests hold this equal to Feast's own reading and writing.
"""

from __future__ import annotations

import importlib.util
import struct
from functools import cache
from typing import Any

import mmh3
from google.protobuf.timestamp_pb2 import Timestamp  # type: ignore[import-untyped]

from contracts.errors import FeatureError, SettingsError
from contracts.settings import SOURCE_NAME

_STRING = 2  # feast.types.ValueType.STRING

#: Lua: microseconds since 1970 of a serialized google.protobuf.Timestamp.
_INSTANT = """
local function instant(b)
  local seconds, nanos, i = 0, 0, 1
  while i <= #b do
    local tag, value, scale, byte = string.byte(b, i), 0, 1, 0
    repeat
      i = i + 1
      byte = string.byte(b, i)
      value = value + (byte % 128) * scale
      scale = scale * 128
    until byte < 128
    i = i + 1
    if tag == 8 then seconds = value elseif tag == 16 then nanos = value end
  end
  return seconds * 1000000 + math.floor(nanos / 1000)
end
"""

#: KEYS[1] entity; ARGV: time field, new time, then field, value, ... Writes unless what is stored is newer: one
#: atomic step, where Feast's own write reads the stored time first and may undo a push that comes in between.
NEWEST_WINS = (
    _INSTANT
    + """
local stored = redis.call('HGET', KEYS[1], ARGV[1])
if stored and instant(stored) > instant(ARGV[2]) then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV))
return 1
"""
)

#: KEYS[1] entity; ARGV: n, then n times field, expected value ('' for none), then field, value, ... Writes only
#: if there was no other write since the expected values were read.
IF_UNCHANGED = """
local n = tonumber(ARGV[1])
for i = 2, 2 * n, 2 do
  if (redis.call('HGET', KEYS[1], ARGV[i]) or '') ~= ARGV[i + 1] then return 0 end
end
redis.call('HSET', KEYS[1], unpack(ARGV, 2 * n + 2))
return 1
"""


def project_name(source: str) -> str:
    """Return the Feast project of a data source. Raises SettingsError for an invalid name: it is used in SQL, too."""
    if not SOURCE_NAME.fullmatch(source):
        raise SettingsError(f"{source!r} is no name for a shop", remedy="use small letters, digits and '-'")
    return source.replace("-", "_")


def shopper_key(project: str, user_id: str) -> bytes:
    """Return the Redis key of one shopper: a hash with the features of all views of the entity."""
    name, value = b"user_id", user_id.encode()
    return b"".join(
        (
            struct.pack("<III", 1, _STRING, len(name)),
            name,
            struct.pack("<II", _STRING, len(value)),
            value,
            project.encode(),
        )
    )


def field(view: str, feature: str) -> bytes:
    """Return the hash field of one feature."""
    return struct.pack("<I", mmh3.hash(f"{view}:{feature}", signed=False))


def time_field(view: str) -> bytes:
    """Return the hash field of a view's event timestamp."""
    return f"_ts:{view}".encode()


def pack_time(us: int) -> bytes:
    """Serialize microseconds since 1970 as a google.protobuf.Timestamp."""
    return bytes(Timestamp(seconds=us // 1_000_000, nanos=us % 1_000_000 * 1000).SerializeToString())


def unpack_time(data: bytes) -> int:
    """Parse a serialized google.protobuf.Timestamp into microseconds since 1970."""
    stamp = Timestamp.FromString(data)
    return int(stamp.seconds) * 1_000_000 + int(stamp.nanos) // 1000


def unpack(data: bytes) -> Any:
    """Parse a serialized feature value into an int, float, str, list of one of them, or None."""
    value = load_values().Value.FromString(data)
    kind = value.WhichOneof("val")
    if kind is None:
        return None
    content = getattr(value, kind)
    return list(content.val) if kind.endswith("_list_val") else content


def pack_strings(strings: list[str]) -> bytes:
    proto = load_values()
    return bytes(proto.Value(string_list_val=proto.StringList(val=strings)).SerializeToString())


def pack_integers(integers: list[int]) -> bytes:
    proto = load_values()
    return bytes(proto.Value(int64_list_val=proto.Int64List(val=integers)).SerializeToString())


@cache
def load_values() -> Any:
    """Load Feast's generated module of feature values without importing Feast."""
    feast = importlib.util.find_spec("feast")
    if feast is None or not feast.submodule_search_locations:
        raise FeatureError("feast is not installed", remedy="pip install -r requirements.txt")
    path = f"{feast.submodule_search_locations[0]}/protos/feast/types/Value_pb2.py"
    spec = importlib.util.spec_from_file_location("caravan_feast_values", path)
    if spec is None or spec.loader is None:
        raise FeatureError(f"{path} cannot be loaded", remedy="pip install -r requirements.txt")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
