"""Configures what does not change while the edge runs: Envoy's listener, limits, filters, access log."""

from __future__ import annotations

from pathlib import Path

from contracts.region_paths import ACCESS_LOG
from contracts.settings import Settings
from serving.edge import admin, callers, client_address, metrics, origins, replies
from serving.edge.arm_assignment import ARM_HEADER, ASSIGN_ARM, MINTED, READ, SHOPPER_HEADER
from serving.edge.envoy import (
    HTTP_FILTER,
    MANAGER,
    TYPE,
    Yaml,
    make_address,
    make_extension,
    make_listener,
    make_lua_filter,
    make_rate_limit,
    make_router,
)
from serving.pipeline.schemas import MAX_BODY

ROUTES = "routes.yaml"
CLUSTERS = "clusters.yaml"

#: Requests per second through one edge, and the burst above that.
EDGE_REQUESTS_PER_S, EDGE_BURST = 3000, 6000


def make_bootstrap(directory: Path, s: Settings, logs: Path) -> Yaml:
    """Make the configuration that Envoy reads once, at its start."""
    return {
        "node": {"id": f"edge-{s.region}", "cluster": "caravan"},
        "admin": {"address": admin.make_admin_address(admin.region_socket(s))},
        "dynamic_resources": {"cds_config": _watch_file(directory, CLUSTERS)},
        "static_resources": {
            "clusters": [metrics.make_admin_cluster(s)] if s.metrics_token else [],
            "listeners": [
                *([metrics.make_metrics_listener(s)] if s.metrics_token else []),
                make_listener(
                    "edge",
                    make_address(s.host, s.ports.edge),
                    _make_manager(directory, s, logs),
                    per_connection_buffer_limit_bytes=2 * MAX_BODY,
                ),
            ],
        },
        "overload_manager": {
            "resource_monitors": [
                make_extension(
                    "envoy.resource_monitors.global_downstream_max_connections",
                    {
                        "@type": TYPE
                        + "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
                        "max_active_downstream_connections": 4096,
                    },
                )
            ]
        },
    }


def _make_manager(directory: Path, s: Settings, logs: Path) -> Yaml:
    """Make the reader of HTTP: normalised paths, bounded headers, bodies and times, one shape of errors, a log line."""
    return {
        "@type": MANAGER,
        "stat_prefix": "edge",
        "use_remote_address": True,
        "always_set_request_id_in_response": True,
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
        "server_header_transformation": "PASS_THROUGH",
        "common_http_protocol_options": {
            "idle_timeout": "60s",
            "max_headers_count": replies.MAX_HEADERS,
            # those are refused in Lua, which can say which one it is
            "headers_with_underscores_action": "ALLOW",
        },
        "max_request_headers_kb": replies.MAX_HEADERS_KIB,
        "request_headers_timeout": "5s",
        "request_timeout": f"{replies.REQUEST_TIMEOUT_S}s",
        "stream_idle_timeout": "15s",
        "rds": {"route_config_name": "caravan", "config_source": _watch_file(directory, ROUTES)},
        "access_log": [make_extension("envoy.access_loggers.file", _make_access_log(logs / ACCESS_LOG))],
        "local_reply_config": replies.make_local_replies(),
        "http_filters": [
            make_extension(
                "envoy.filters.http.local_ratelimit",
                make_rate_limit("edge_rate", burst=EDGE_BURST, fill=EDGE_REQUESTS_PER_S // 10, every="0.1s"),
            ),
            origins.make_origin_filter(),
            *callers.make_caller_filters(s),
            make_lua_filter("envoy.filters.http.lua", _make_script(s)),
            make_extension(
                "envoy.filters.http.buffer",
                {"@type": f"{HTTP_FILTER}buffer.v3.Buffer", "max_request_bytes": MAX_BODY},
            ),
            make_router(),
        ],
    }


def _make_script(s: Settings) -> str:
    """Make the Lua that says who asks, from where, and gives every shopper an arm."""
    return callers.REFUSE + client_address.make_origin_script(s) + callers.make_caller_script(s) + ASSIGN_ARM


def _make_access_log(path: Path) -> Yaml:
    """Make a log with one JSON object per request; no query string, which may hold a shopper's words."""
    return {
        "@type": TYPE + "envoy.extensions.access_loggers.file.v3.FileAccessLog",
        "path": str(path),
        "log_format": {
            "json_format": {
                "time": "%START_TIME(%Y-%m-%dT%H:%M:%S.%6fZ)%",
                "request_id": "%REQ(X-REQUEST-ID)%",
                "shopper": f"%REQ({SHOPPER_HEADER.upper()})%",
                "arm": f"%REQ({ARM_HEADER.upper()})%",
                "caller": "%DYNAMIC_METADATA(caravan:caller)%",
                "minted": f"%DYNAMIC_METADATA(caravan:{MINTED})%",
                "origin": f"%DYNAMIC_METADATA(caravan:{client_address.ORIGIN})%",
                "read": f"%DYNAMIC_METADATA(caravan:{READ})%",
                "release": "%DYNAMIC_METADATA(caravan:release)%",
                "method": "%REQ(:METHOD)%",
                "path": "%PATH(NQ)%",
                "cluster": "%UPSTREAM_CLUSTER%",
                "upstream": "%UPSTREAM_HOST%",
                "code": "%RESPONSE_CODE%",
                "flags": "%RESPONSE_FLAGS%",
                "details": "%RESPONSE_CODE_DETAILS%",
                # until the engine had the whole request, and from there to its first byte: the rest of the duration
                # is the client's own network
                "sent_ms": "%COMMON_DURATION(DS_RX_BEG:US_TX_END:ms)%",
                "waited_ms": "%COMMON_DURATION(US_TX_END:US_RX_BEG:ms)%",
                "duration_ms": "%DURATION%",
                "bytes_in": "%BYTES_RECEIVED%",
                "bytes_out": "%BYTES_SENT%",
            }
        },
    }


def _watch_file(directory: Path, name: str) -> Yaml:
    return {
        "resource_api_version": "V3",
        "path_config_source": {"path": str(directory / name), "watched_directory": {"path": str(directory)}},
    }
