"""Configures the global edge: Envoy in front of the regions, in the control group.

Shoppers go to the region that says it is the active one (`/active`); the regions are asked every second, in the order
of their priority. When none of them is active, shoppers get an error at once instead of being sent anywhere.
"""

from __future__ import annotations

from pathlib import Path
from typing import get_args
from urllib.parse import urlsplit

from contracts.errors import SettingsError
from contracts.region import RegionName
from contracts.settings import Settings
from serving.edge import admin, client_address, envoy, replies
from serving.edge.edge import replace_file
from serving.edge.envoy import Yaml, make_address

#: Seconds between two health checks of a region; after so many failures shoppers go to the other one.
REGION_CHECK_EVERY_S, REGION_FAILURES = 1, 2


def write_global_edge(directory: Path, s: Settings) -> Path:
    """Write the file of the global edge below `directory`; return the path to start Envoy with."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "global-edge.yaml"
    replace_file(path, make_global_bootstrap(s))
    return path


def make_global_bootstrap(s: Settings) -> Yaml:
    """Make the whole configuration: it does not change while the global edge runs."""
    edges = [s.edge_address_of(region) for region in get_args(RegionName)]
    route = {
        "match": {"prefix": "/"},
        "route": {
            "cluster": "regions",
            "timeout": f"{s.request_deadline + 2:g}s",
            # nothing was answered yet, so asking again does no harm
            "retry_policy": {"retry_on": "connect-failure,refused-stream,reset-before-request", "num_retries": 2},
        },
        "request_headers_to_add": client_address.make_origin_header(s),
    }
    manager = {
        "@type": envoy.MANAGER,
        "stat_prefix": "global_edge",
        "use_remote_address": True,
        "normalize_path": True,
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
        "common_http_protocol_options": {"idle_timeout": "60s", "max_headers_count": 64},
        "request_headers_timeout": "5s",
        "local_reply_config": replies.make_local_replies(),
        "route_config": {"name": "regions", "virtual_hosts": [{"name": "shop", "domains": ["*"], "routes": [route]}]},
        "http_filters": [envoy.make_router()],
    }
    listener = envoy.make_listener("global-edge", make_address(s.host, s.control_ports.global_edge), manager)
    return {
        "node": {"id": "global-edge", "cluster": "caravan"},
        "admin": {"address": admin.make_admin_address(admin.control_socket(s))},
        "static_resources": {"listeners": [listener], "clusters": [_make_regions_cluster(edges)]},
    }


def _make_regions_cluster(edges: list[str]) -> Yaml:
    endpoints = []
    for priority, url in enumerate(edges):
        address = urlsplit(url)
        if not address.hostname or not address.port:
            raise SettingsError(
                f"the edge address {url} has no host or port",
                remedy="set CARAVAN_PRIMARY_EDGE_URL and CARAVAN_STANDBY_EDGE_URL",
            )
        endpoint = {"endpoint": {"address": make_address(address.hostname, address.port)}}
        endpoints.append({"priority": priority, "lb_endpoints": [endpoint]})
    return {
        "name": "regions",
        "type": "STRICT_DNS",
        "connect_timeout": "0.5s",
        "load_assignment": {"cluster_name": "regions", "endpoints": endpoints},
        # without it, a cluster with no healthy member gets requests all the same
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        "health_checks": [envoy.make_health_check("/active", every_s=REGION_CHECK_EVERY_S, failures=REGION_FAILURES)],
        "typed_extension_protocol_options": envoy.make_http_1_options(),
    }
