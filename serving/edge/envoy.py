"""Makes the pieces that every part of Envoy's configuration is put together from, in Envoy's own spelling."""

from __future__ import annotations

from typing import Any

Yaml = dict[str, Any]
TYPE = "type.googleapis.com/"
HTTP_FILTER = f"{TYPE}envoy.extensions.filters.http."
MANAGER = f"{TYPE}envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"


def make_extension(name: str, config: Yaml) -> Yaml:
    """Make a filter, a monitor or a log of its name and its configuration."""
    return {"name": name, "typed_config": config}


def make_router() -> Yaml:
    """Make the last of the HTTP filters."""
    return make_extension("envoy.filters.http.router", {"@type": f"{HTTP_FILTER}router.v3.Router"})


def make_lua_filter(name: str, source: str) -> Yaml:
    """Make an HTTP filter in Lua."""
    config = {"@type": f"{HTTP_FILTER}lua.v3.Lua", "default_source_code": {"inline_string": source}}
    return make_extension(name, config)


def make_rate_limit(prefix: str, *, burst: int, fill: int, every: str) -> Yaml:
    """Make a local rate limit that is always on: `fill` requests per `every` (like "1s"), and `burst` at once."""
    return {
        "@type": f"{HTTP_FILTER}local_ratelimit.v3.LocalRateLimit",
        "stat_prefix": prefix,
        "token_bucket": {"max_tokens": burst, "tokens_per_fill": fill, "fill_interval": every},
        "filter_enabled": _always(f"{prefix}_enabled"),
        "filter_enforced": _always(f"{prefix}_enforced"),
    }


def make_listener(name: str, address: Yaml, manager: Yaml, **more: Any) -> Yaml:
    """Make a listener for HTTP, read as the connection manager `manager` says."""
    chain = {"filters": [make_extension("envoy.filters.network.http_connection_manager", manager)]}
    return {"name": name, "address": address, **more, "filter_chains": [chain]}


def make_health_check(path: str, *, every_s: int, failures: int) -> Yaml:
    """Make a check that asks a member for `path`; after so many `failures` it is left out until it answers again."""
    return {
        "timeout": "1s",
        "interval": f"{every_s}s",
        "no_traffic_interval": f"{every_s}s",
        "unhealthy_threshold": failures,
        "healthy_threshold": 1,
        "http_health_check": {"path": path},
    }


def make_http_1_options() -> Yaml:
    """Make the options for HTTP/1.1 to a cluster, whose connections are closed before its members would close them."""
    name = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    options = {"common_http_protocol_options": {"idle_timeout": "5s"}}
    return {name: {"@type": f"{TYPE}{name}", **options, "explicit_http_config": {"http_protocol_options": {}}}}


def make_address(host: str, port: int) -> Yaml:
    return {"socket_address": {"address": host, "port_value": port}}


def _always(key: str) -> Yaml:
    return {"runtime_key": key, "default_value": {"numerator": 100, "denominator": "HUNDRED"}}
