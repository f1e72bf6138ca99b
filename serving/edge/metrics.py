"""Configures the metrics listener of the edge: with the region's token, a scraper reaches every engine through it.

Engines and Envoy's own statistics listen at unix sockets, which Prometheus cannot scrape.
"""

from __future__ import annotations

from contracts.region import SLOTS
from contracts.settings import Settings
from serving.edge import admin, envoy
from serving.edge.envoy import Yaml

_EDGE = "edge-admin"


def make_metrics_listener(s: Settings) -> Yaml:
    """Make a listener for `GET /metrics/SLOT` and `/metrics/edge` with the token as Bearer; anything else is a 401."""
    token = {"name": "authorization", "string_match": {"exact": f"Bearer {s.secret('metrics_token')}"}}
    get = {"name": ":method", "string_match": {"exact": "GET"}}
    places = {**{slot: (slot, "/metrics") for slot in SLOTS}, "edge": (_EDGE, "/stats/prometheus")}
    routes: list[Yaml] = [
        {
            "match": {"path": f"/metrics/{name}", "headers": [get, token]},
            "route": {"cluster": cluster, "prefix_rewrite": path, "timeout": "5s"},
        }
        for name, (cluster, path) in places.items()
    ]
    said = "metrics are for the scraper: authorization: Bearer, with the token in secrets/caravan_metrics_token"
    routes.append(
        {"match": {"prefix": "/"}, "direct_response": {"status": 401, "body": {"inline_string": f"{said}\n"}}}
    )
    manager = {
        "@type": envoy.MANAGER,
        "codec_type": "HTTP1",
        "stat_prefix": "metrics",
        "normalize_path": True,
        "request_headers_timeout": "5s",
        "common_http_protocol_options": {"idle_timeout": "60s", "max_headers_count": 64},
        "route_config": {
            "name": "metrics", "validate_clusters": False,  # engines are known a moment later
            "virtual_hosts": [{"name": "metrics", "domains": ["*"], "routes": routes}],
        },
        "http_filters": [envoy.make_router()],
    }  # fmt: skip
    return envoy.make_listener("metrics", envoy.make_address(s.host, s.ports.metrics), manager)


def make_admin_cluster(s: Settings) -> Yaml:
    """Make the cluster that is Envoy itself, through its own socket."""
    endpoint = {"endpoint": {"address": {"pipe": {"path": str(admin.region_socket(s))}}}}
    return {
        "name": _EDGE,
        "type": "STATIC",
        "connect_timeout": "0.5s",
        "load_assignment": {"cluster_name": _EDGE, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }
