"""Envoy's own spelling, for whoever writes a part of its configuration."""

from __future__ import annotations

from typing import Any

Yaml = dict[str, Any]
TYPE = "type.googleapis.com/"
HTTP_FILTER = f"{TYPE}envoy.extensions.filters.http."
MANAGER = f"{TYPE}envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"


def named(name: str, config: Yaml) -> Yaml:
    """A filter, a monitor or a log: its name and its configuration."""
    return {"name": name, "typed_config": config}


def router() -> Yaml:
    """The last of the HTTP filters."""
    return named("envoy.filters.http.router", {"@type": f"{HTTP_FILTER}router.v3.Router"})


def lua(name: str, source: str) -> Yaml:
    """An HTTP filter in Lua."""
    return named(name, {"@type": f"{HTTP_FILTER}lua.v3.Lua", "default_source_code": {"inline_string": source}})


def rate_limit(prefix: str, *, burst: int, fill: int, every: str) -> Yaml:
    """A local rate limit that always holds: `fill` requests `every` so often, and `burst` at once."""
    return {
        "@type": f"{HTTP_FILTER}local_ratelimit.v3.LocalRateLimit",
        "stat_prefix": prefix,
        "token_bucket": {"max_tokens": burst, "tokens_per_fill": fill, "fill_interval": every},
        "filter_enabled": _always(f"{prefix}_enabled"),
        "filter_enforced": _always(f"{prefix}_enforced"),
    }


def listener(name: str, address: Yaml, manager: Yaml, **more: Any) -> Yaml:
    """A listener for HTTP, read as `manager` says."""
    chain = {"filters": [named("envoy.filters.network.http_connection_manager", manager)]}
    return {"name": name, "address": address, **more, "filter_chains": [chain]}


def health_check(path: str, *, every: int, failures: int) -> Yaml:
    """A member is asked for `path` all `every` seconds; it is left out after so many failures, until it answers."""
    return {
        "timeout": "1s",
        "interval": f"{every}s",
        "no_traffic_interval": f"{every}s",
        "unhealthy_threshold": failures,
        "healthy_threshold": 1,
        "http_health_check": {"path": path},
    }


def http_1() -> Yaml:
    """HTTP/1.1 to the members of a cluster, over connections that are given up before those would close them."""
    name = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    options = {"common_http_protocol_options": {"idle_timeout": "5s"}}
    return {name: {"@type": f"{TYPE}{name}", **options, "explicit_http_config": {"http_protocol_options": {}}}}


def address_of(host: str, port: int) -> Yaml:
    return {"socket_address": {"address": host, "port_value": port}}


def _always(key: str) -> Yaml:
    return {"runtime_key": key, "default_value": {"numerator": 100, "denominator": "HUNDRED"}}
