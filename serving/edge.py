"""Envoy in front of the engines: the files it reads, and the weights it routes by.

`envoy.yaml` is read once; `routes.yaml` and `clusters.yaml` are watched and replaced by an atomic rename, so
moving traffic never restarts anything. Shoppers are hashed on an id that the edge mints in a cookie where none
came, and the arms of a split are listed control, rest, canary: growing an arm only ever moves shoppers into it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from contracts.errors import SettingsError
from contracts.settings import Settings
from serving.schemas import MAX_BODY

BOOTSTRAP = "envoy.yaml"
ROUTES = "routes.yaml"
CLUSTERS = "clusters.yaml"
ACCESS_LOG = "edge-access.log"

#: The opaque id that splits hash on: a shop's server may send it, for browsers the edge keeps it in a cookie.
SHOPPER_HEADER = "x-shopper-id"
SHOPPER_COOKIE = "caravan_shopper"
COOKIE_DAYS = 365
#: Requests per second through one edge, and the burst above that.
RATE, BURST = 3000, 6000

Yaml = dict[str, Any]
_TYPE = "type.googleapis.com/"
_HTTP = _TYPE + "envoy.extensions.filters.http."


@dataclass(frozen=True, kw_only=True)
class Split:
    """Percent of shoppers per arm; an arm is a cluster. Everything on `champion` until *Releases* moves it."""

    control: int = 0
    rest: int = 100
    canary: int = 0
    clusters: dict[str, str] = field(
        default_factory=lambda: {"control": "control", "rest": "champion", "canary": "canary"}
    )

    def __post_init__(self) -> None:
        weights = (self.control, self.rest, self.canary)
        if sum(weights) != 100 or min(weights) < 0:
            raise SettingsError(f"the weights {weights} do not sum to 100", remedy="give control, rest and canary")

    def arms(self) -> list[Yaml]:
        """Weighted clusters in the order that keeps shoppers where they are; arms without traffic are left out."""
        weights = {"control": self.control, "rest": self.rest, "canary": self.canary}
        return [{"name": self.clusters[arm], "weight": weight} for arm, weight in weights.items() if weight]


def write(directory: Path, s: Settings, *, logs: Path | None = None) -> Path:
    """Write all of Envoy's files below `directory`; returns the path to start it with. Running it again is harmless."""
    directory.mkdir(parents=True, exist_ok=True)
    logs = logs or s.region_home / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    write_clusters(directory, {"champion": s.engine_address})
    write_routes(directory, Split(), s)
    path = directory / BOOTSTRAP
    _replace(path, bootstrap(directory.resolve(), s, logs.resolve()))
    return path


def write_routes(directory: Path, split: Split, s: Settings) -> None:
    """Route by `split` from now on; a running Envoy follows within milliseconds."""
    resource = {"@type": _TYPE + "envoy.config.route.v3.RouteConfiguration"} | routes(split, s)
    _replace(directory / ROUTES, {"resources": [resource]})


def write_clusters(directory: Path, engines: dict[str, str]) -> None:
    """The engines there are: cluster name -> base URL."""
    kind = {"@type": _TYPE + "envoy.config.cluster.v3.Cluster"}
    _replace(directory / CLUSTERS, {"resources": [kind | cluster(name, url) for name, url in engines.items()]})


def command(bootstrap_path: Path) -> list[str]:
    """The command line that starts the edge: one thread, access log flushed four times a second."""
    options = ["--concurrency", "1", "--disable-hot-restart", "--file-flush-interval-msec", "250", "-l", "warning"]
    return ["envoy", "-c", str(bootstrap_path), *options]


def routes(split: Split, s: Settings) -> Yaml:
    """What is reachable from outside, and how long it may take."""
    answer: Yaml = {
        "weighted_clusters": {"clusters": split.arms(), "use_hash_policy": True},
        "hash_policy": [{"header": {"header_name": SHOPPER_HEADER}}],
        # the engine gives up first and says why
        "timeout": f"{s.request_deadline + 1:g}s",
    }
    retried = answer | {
        "retry_policy": {"retry_on": "connect-failure,refused-stream,reset-before-request", "num_retries": 1}
    }
    post, get = _method("POST"), _method("GET")
    found: list[Yaml] = [
        {"match": {"path": "/recommend", "headers": [post]}, "route": answer},
        {"match": {"path": "/events", "headers": [post]}, "route": answer},
        {"match": {"path": "/search", "headers": [get]}, "route": retried},
        {"match": {"prefix": "/similar/", "headers": [get]}, "route": retried},
        {"match": {"path": "/readyz", "headers": [get]}, "route": {"cluster": "champion", "timeout": "2s"}},
        {"match": {"path": "/healthz", "headers": [get]}, "route": {"cluster": "champion", "timeout": "2s"}},
    ]
    found += [
        {"match": {"path": path}, "direct_response": {"status": 405, "body": {"inline_string": "wrong method"}}}
        for path in ("/recommend", "/events", "/search")
    ]
    found.append({"match": {"prefix": "/"}, "direct_response": {"status": 404, "body": {"inline_string": "no route"}}})
    return {
        "name": "caravan",
        "virtual_hosts": [{"name": "shop", "domains": ["*"], "routes": found}],
        "response_headers_to_remove": ["server", "x-envoy-upstream-service-time"],
    }


def cluster(name: str, url: str) -> Yaml:
    """One engine. Connections are given up before the engine would close them under a request."""
    address = urlsplit(url)
    if not address.hostname or not address.port:
        raise SettingsError(f"the engine address {url} has no host or port", remedy="set CARAVAN_ENGINE_URL")
    numeric = address.hostname.replace(".", "").isdigit() or ":" in address.hostname
    return {
        "name": name,
        "type": "STATIC" if numeric else "STRICT_DNS",
        "connect_timeout": "0.5s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(address.hostname, address.port)}}]}],
        },
        "circuit_breakers": {
            "thresholds": [{"max_connections": 512, "max_pending_requests": 512, "max_requests": 512}]
        },
        "health_checks": [
            {
                "timeout": "1s",
                "interval": "1s",
                "no_traffic_interval": "1s",
                "unhealthy_threshold": 2,
                "healthy_threshold": 1,
                "http_health_check": {"path": "/readyz"},
            }
        ],
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": _TYPE + "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "common_http_protocol_options": {"idle_timeout": "5s"},
                "explicit_http_config": {"http_protocol_options": {}},
            }
        },
    }


def bootstrap(directory: Path, s: Settings, logs: Path) -> Yaml:
    """Everything that does not change while the edge runs."""
    return {
        "node": {"id": f"edge-{s.region}", "cluster": "caravan"},
        "admin": {"address": _address(s.host, s.ports.edge_admin)},
        "dynamic_resources": {"cds_config": _watched(directory, CLUSTERS)},
        "static_resources": {
            "listeners": [
                {
                    "name": "edge",
                    "address": _address(s.host, s.ports.edge),
                    "per_connection_buffer_limit_bytes": 2 * MAX_BODY,
                    "filter_chains": [
                        {"filters": [_named("envoy.filters.network.http_connection_manager", _http(directory, logs))]}
                    ],
                }
            ]
        },
        "overload_manager": {
            "resource_monitors": [
                _named(
                    "envoy.resource_monitors.global_downstream_max_connections",
                    {
                        "@type": _TYPE
                        + "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
                        "max_active_downstream_connections": 4096,
                    },
                )
            ]
        },
    }


def _http(directory: Path, logs: Path) -> Yaml:
    """How HTTP is read: normalised paths, bounded headers, bodies and times, uniform errors, one log line each."""
    return {
        "@type": _TYPE + "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "edge",
        "use_remote_address": True,
        "always_set_request_id_in_response": True,
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
        "server_header_transformation": "PASS_THROUGH",
        "common_http_protocol_options": {
            "idle_timeout": "60s",
            "max_headers_count": 64,
            "headers_with_underscores_action": "REJECT_REQUEST",
        },
        "max_request_headers_kb": 16,
        "request_headers_timeout": "5s",
        "request_timeout": "10s",
        "stream_idle_timeout": "15s",
        "rds": {"route_config_name": "caravan", "config_source": _watched(directory, ROUTES)},
        "access_log": [_named("envoy.access_loggers.file", _access_log(logs / ACCESS_LOG))],
        "local_reply_config": {
            "body_format": {
                "json_format": {
                    "error": "%LOCAL_REPLY_BODY% (%RESPONSE_CODE_DETAILS%)",
                    "remedy": "see the documentation of the routes; after a 429 or 503 try again",
                    "request_id": "%REQ(X-REQUEST-ID)%",
                }
            }
        },
        "http_filters": [
            _named(
                "envoy.filters.http.local_ratelimit",
                {
                    "@type": _HTTP + "local_ratelimit.v3.LocalRateLimit",
                    "stat_prefix": "edge_rate",
                    "token_bucket": {"max_tokens": BURST, "tokens_per_fill": RATE // 10, "fill_interval": "0.1s"},
                    "filter_enabled": _always("edge_rate_enabled"),
                    "filter_enforced": _always("edge_rate_enforced"),
                },
            ),
            _named(
                "envoy.filters.http.lua",
                {"@type": _HTTP + "lua.v3.Lua", "default_source_code": {"inline_string": _SHOPPER_ID}},
            ),
            _named(
                "envoy.filters.http.buffer",
                {"@type": _HTTP + "buffer.v3.Buffer", "max_request_bytes": MAX_BODY},
            ),
            _named("envoy.filters.http.router", {"@type": _HTTP + "router.v3.Router"}),
        ],
    }


#: Gives every request the shopper header: what came, else the cookie, else a new id that goes into the cookie.
_SHOPPER_ID = f"""
local function clean(id)
  if id ~= nil and #id <= 128 and string.find(id, "^[%w._%-]+$") then return id end
  return nil
end
function envoy_on_request(handle)
  local headers = handle:headers()
  if clean(headers:get("{SHOPPER_HEADER}")) then return end
  local id = nil
  for name, value in string.gmatch(headers:get("cookie") or "", "([%w_]+)=([^;]*)") do
    if name == "{SHOPPER_COOKIE}" then id = clean(value) end
  end
  if id == nil then
    id = headers:get("x-request-id")
    handle:streamInfo():dynamicMetadata():set("caravan", "minted", id)
  end
  headers:replace("{SHOPPER_HEADER}", id)
end
function envoy_on_response(handle)
  local found = handle:streamInfo():dynamicMetadata():get("caravan")
  if found ~= nil and found["minted"] ~= nil then
    handle:headers():add("set-cookie", "{SHOPPER_COOKIE}=" .. found["minted"]
      .. "; Max-Age={COOKIE_DAYS * 86400}; Path=/; HttpOnly; SameSite=Lax")
  end
end
"""


def _access_log(path: Path) -> Yaml:
    """One JSON object per request; no query string, which may hold what a shopper typed."""
    return {
        "@type": _TYPE + "envoy.extensions.access_loggers.file.v3.FileAccessLog",
        "path": str(path),
        "log_format": {
            "json_format": {
                "time": "%START_TIME(%Y-%m-%dT%H:%M:%S.%6fZ)%",
                "request_id": "%REQ(X-REQUEST-ID)%",
                "shopper": f"%REQ({SHOPPER_HEADER.upper()})%",
                "method": "%REQ(:METHOD)%",
                "path": "%PATH(NQ)%",
                "cluster": "%UPSTREAM_CLUSTER%",
                "upstream": "%UPSTREAM_HOST%",
                "code": "%RESPONSE_CODE%",
                "flags": "%RESPONSE_FLAGS%",
                "details": "%RESPONSE_CODE_DETAILS%",
                "duration_ms": "%DURATION%",
                "upstream_ms": "%RESPONSE_DURATION%",
                "bytes_in": "%BYTES_RECEIVED%",
                "bytes_out": "%BYTES_SENT%",
            }
        },
    }


def _method(name: str) -> Yaml:
    return {"name": ":method", "string_match": {"exact": name}}


def _address(host: str, port: int) -> Yaml:
    return {"socket_address": {"address": host, "port_value": port}}


def _named(name: str, config: Yaml) -> Yaml:
    return {"name": name, "typed_config": config}


def _always(key: str) -> Yaml:
    return {"runtime_key": key, "default_value": {"numerator": 100, "denominator": "HUNDRED"}}


def _watched(directory: Path, name: str) -> Yaml:
    return {
        "resource_api_version": "V3",
        "path_config_source": {"path": str(directory / name), "watched_directory": {"path": str(directory)}},
    }


def _replace(path: Path, content: Yaml) -> None:
    """Write `content` as YAML in one atomic step; a reader sees the old file or the new one."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.write_text(yaml.safe_dump(content, sort_keys=False, width=120))
    part.replace(path)
