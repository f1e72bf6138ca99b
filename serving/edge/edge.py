"""Writes the files of the Envoy in front of the engines, and the weights it routes by.

`envoy.yaml` is read once; `routes.yaml` and `clusters.yaml` are watched and replaced by an atomic rename, so
moving traffic never restarts anything. Shoppers are hashed on an id that the edge mints in a cookie where none
came, and the arms of a split are listed control, rest, canary: growing an arm only ever moves shoppers into it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from artifacts.files import atomic_write
from contracts.errors import SettingsError
from contracts.region import SLOTS
from contracts.settings import Settings
from contracts.sockets import SCHEME
from serving.edge import callers, envoy, origins
from serving.edge.arm_assignment import ARM_HEADER, SPLIT_HEADER
from serving.edge.envoy import TYPE, Yaml, make_address
from serving.edge.listener import CLUSTERS, ROUTES, make_bootstrap
from serving.edge.replies import make_remedy

BOOTSTRAP = "envoy.yaml"
#: The split as it was written last, for people and for the controller; Envoy reads the routes.
SPLIT_FILE = "split.yaml"

NO_ROUTE = (
    "the routes are POST /recommend, POST /events, POST /shopper, GET /search, GET /similar?item_id=, "
    "GET /similar/ITEM, GET /readyz, GET /healthz"
)
#: The method of each path that has one alone.
METHODS = {"/recommend": "POST", "/events": "POST", "/shopper": "POST", "/search": "GET", "/similar": "GET"}
#: Arms of a canary: when their engine is gone, their shoppers get the champion's answers.
GUARDED_ARMS = ("control", "canary")


@dataclass(frozen=True, kw_only=True)
class TrafficSplit:
    """Percent of shoppers per arm, and which engine serves those in neither arm of a canary.

    `mirror`: copies of all questions go to the canary's engine too. `salt` makes a different split for each release.
    """

    control: int = 0
    rest: int = 100
    canary: int = 0
    rest_engine: str = "champion"
    mirror: bool = False
    salt: str = ""

    def __post_init__(self) -> None:
        weights = (self.control, self.rest, self.canary)
        if sum(weights) != 100 or min(weights) < 0:
            raise SettingsError(f"the weights {weights} do not sum to 100", remedy="give control, rest and canary")
        if self.rest_engine not in SLOTS:
            raise SettingsError(f"there is no engine {self.rest_engine}", remedy=f"name one of {', '.join(SLOTS)}")

    def arms(self) -> list[Yaml]:
        """Return the arms with traffic as weighted clusters, in the order that keeps shoppers where they are."""
        arms = (
            ("control", "control-or-champion", self.control),
            ("rest", self.rest_engine, self.rest),
            ("canary", "canary-or-champion", self.canary),
        )
        return [
            {"name": name, "weight": weight, "request_headers_to_add": [_set_header(ARM_HEADER, arm)]}
            for arm, name, weight in arms
            if weight
        ]


def write_edge(directory: Path, s: Settings, *, logs: Path | None = None) -> Path:
    """Write Envoy's files below `directory`; return the path to start it with. Running it again is harmless.

    The split that was written last stays: shoppers were routed by it when the edge stopped. Its routes are made again,
    since an older version, or other settings, may have made them.
    """
    directory.mkdir(parents=True, exist_ok=True)
    logs = logs or s.paths.logs
    logs.mkdir(parents=True, exist_ok=True)
    write_clusters(directory, {slot: s.engine_address_of(slot) for slot in SLOTS})
    split = read_split(directory)
    if split is not None or not (directory / ROUTES).is_file():
        write_routes(directory, split or TrafficSplit(), s)
    path = directory / BOOTSTRAP
    replace_file(path, make_bootstrap(directory.resolve(), s, logs.resolve()))
    return path


def write_routes(directory: Path, split: TrafficSplit, s: Settings) -> None:
    """Route by `split` from now on; a running Envoy follows within milliseconds."""
    resource = {"@type": TYPE + "envoy.config.route.v3.RouteConfiguration"} | make_routes(split, s)
    replace_file(directory / ROUTES, {"resources": [resource]})
    replace_file(directory / SPLIT_FILE, asdict(split))


def read_split(directory: Path) -> TrafficSplit | None:
    """Read the split that `write_routes` wrote last; None before the first."""
    try:
        return TrafficSplit(**yaml.safe_load((directory / SPLIT_FILE).read_text()))
    except (OSError, TypeError, ValueError, yaml.YAMLError):
        return None


def write_clusters(directory: Path, engines: dict[str, str]) -> None:
    """Write the clusters that routes may name: `engines` (name -> base URL), and the guarded arms among them."""
    kind = {"@type": TYPE + "envoy.config.cluster.v3.Cluster"}
    found = [_make_engine_cluster(name, url) for name, url in engines.items()]
    found += [
        _make_guarded_cluster(f"{arm}-or-champion", [arm, "champion"])
        for arm in GUARDED_ARMS
        if {arm, "champion"} <= set(engines)
    ]
    replace_file(directory / CLUSTERS, {"resources": [kind | each for each in found]})


def make_command(bootstrap_path: Path) -> list[str]:
    """Make the command line that starts the edge: one thread, access log flushed four times a second."""
    options = ["--concurrency", "1", "--disable-hot-restart", "--file-flush-interval-msec", "250", "-l", "warning"]
    return ["envoy", "-c", str(bootstrap_path), *options]


def make_routes(split: TrafficSplit, s: Settings) -> Yaml:
    """Make the routes that are reachable from outside, with their timeouts and the arms of `split`."""
    take: Yaml = {
        "weighted_clusters": {"clusters": split.arms(), "use_hash_policy": True},
        "hash_policy": [{"header": {"header_name": SPLIT_HEADER}}],
        # the engine gives up first and says why
        "timeout": f"{s.request_deadline + 1:g}s",
    }
    answer = take | ({"request_mirror_policies": [{"cluster": "canary"}]} if split.mirror else {})
    retried = answer | {
        "retry_policy": {"retry_on": "connect-failure,refused-stream,reset-before-request", "num_retries": 1}
    }
    probe = {"cluster": split.rest_engine, "timeout": "2s"}
    post, get = _match_method("POST"), _match_method("GET")
    found: list[Yaml] = [
        {"match": {"path": "/recommend", "headers": [post]}, "route": answer},
        {"match": {"path": "/events", "headers": [post]}, "route": take},
        {
            "match": {"path": "/shopper", "headers": [post]},
            "route": take,
            "typed_per_filter_config": callers.make_mint_limit(),
        },
        {"match": {"path": "/search", "headers": [get]}, "route": retried},
        {"match": {"path": "/similar", "headers": [get]}, "route": retried},
        {"match": {"prefix": "/similar/", "headers": [get]}, "route": retried},
        {"match": {"path": "/readyz", "headers": [get]}, "route": probe},
        {"match": {"path": "/healthz", "headers": [get]}, "route": probe},
        {"match": {"path": "/active", "headers": [get]}, "route": probe},
    ]
    for route in found:
        route["metadata"] = {"filter_metadata": {"envoy.filters.http.lua": {"salt": split.salt}}}
    found += origins.make_preflight_routes(s, probe)
    found += [_refuse(path, method, split.salt) for path, method in METHODS.items()]
    found.append(
        {
            "match": {"prefix": "/"},
            "direct_response": {"status": 404, "body": {"inline_string": "there is no such route"}},
            "metadata": {"filter_metadata": make_remedy(NO_ROUTE)},
        }
    )
    host = {"name": "shop", "domains": ["*"], "routes": found, "typed_per_filter_config": origins.make_origin_policy(s)}
    return {
        "name": "caravan",
        "virtual_hosts": [host],
        "response_headers_to_remove": ["server", "x-envoy-upstream-service-time"],
    }


def _refuse(path: str, method: str, salt: str) -> Yaml:
    """Make the route that answers every other method of a path."""
    allow = {"header": {"key": "allow", "value": method}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
    return {
        "match": {"path": path},
        "direct_response": {"status": 405, "body": {"inline_string": f"{path} does not take this method"}},
        "response_headers_to_add": [allow],
        "metadata": {
            "filter_metadata": {"envoy.filters.http.lua": {"salt": salt}, **make_remedy(f"use {method} {path}")}
        },
    }


def _make_engine_cluster(name: str, url: str) -> Yaml:
    """Make the cluster of one engine."""
    where, numeric = _upstream_address(url)
    return {
        "name": name,
        "type": "STATIC" if numeric else "STRICT_DNS",
        "connect_timeout": "0.5s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": where}}]}],
        },
        "circuit_breakers": {
            "thresholds": [{"max_connections": 512, "max_pending_requests": 512, "max_requests": 512}]
        },
        "health_checks": [envoy.make_health_check("/readyz", every_s=1, failures=2)],
        "typed_extension_protocol_options": envoy.make_http_1_options(),
    }


def _upstream_address(url: str) -> tuple[Yaml, bool]:
    """Return Envoy's address of a URL or of `unix:PATH`, and whether it can be used without looking a name up."""
    if url.startswith(SCHEME):
        return {"pipe": {"path": url.removeprefix(SCHEME)}}, True
    address = urlsplit(url)
    if not address.hostname or not address.port:
        raise SettingsError(f"the engine address {url} has no host or port", remedy="set CARAVAN_ENGINE_URL")
    numeric = address.hostname.replace(".", "").isdigit() or ":" in address.hostname
    return make_address(address.hostname, address.port), numeric


def _make_guarded_cluster(name: str, members: list[str]) -> Yaml:
    """Make a cluster that is the first of `members` that is healthy."""
    return {
        "name": name,
        "connect_timeout": "0.5s",
        "lb_policy": "CLUSTER_PROVIDED",
        "cluster_type": {
            "name": "envoy.clusters.aggregate",
            "typed_config": {
                "@type": TYPE + "envoy.extensions.clusters.aggregate.v3.ClusterConfig",
                "clusters": members,
            },
        },
    }


def _set_header(name: str, value: str) -> Yaml:
    return {"header": {"key": name, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}


def _match_method(name: str) -> Yaml:
    return {"name": ":method", "string_match": {"exact": name}}


def replace_file(path: Path, content: Yaml) -> None:
    """Write `content` as YAML in one atomic step; a reader sees the old file or the new one."""
    atomic_write(path, yaml.safe_dump(content, sort_keys=False, width=120))
