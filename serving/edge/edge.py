"""Envoy in front of the engines: the files it reads, and the weights it routes by.

`envoy.yaml` is read once; `routes.yaml` and `clusters.yaml` are watched and replaced by an atomic rename, so
moving traffic never restarts anything. Shoppers are hashed on an id that the edge mints in a cookie where none
came, and the arms of a split are listed control, rest, canary: growing an arm only ever moves shoppers into it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import yaml

from artifacts.files import atomic_write
from contracts.errors import SettingsError
from contracts.region import SLOTS
from contracts.settings import Settings
from contracts.sockets import SCHEME
from serving.edge import callers, envoy
from serving.edge.envoy import TYPE, Yaml, address_of
from serving.edge.listener import (
    ACCESS_LOG,
    ARM_HEADER,
    CLUSTERS,
    RELEASE_HEADER,
    ROUTES,
    SHOPPER_COOKIE,
    SHOPPER_HEADER,
    SPLIT_HEADER,
    bootstrap,
)

__all__ = [
    "ACCESS_LOG",
    "ARM_HEADER",
    "BOOTSTRAP",
    "CLUSTERS",
    "RELEASE_HEADER",
    "ROUTES",
    "SHOPPER_COOKIE",
    "SHOPPER_HEADER",
    "SLOTS",
    "Split",
    "command",
    "read_split",
    "write",
    "write_clusters",
    "write_routes",
]

BOOTSTRAP = "envoy.yaml"
#: The split as we wrote it, for people and for the controller; Envoy reads the routes.
SPLIT = "split.yaml"


NO_ROUTE = (
    "the routes are POST /recommend, POST /events, POST /shopper, GET /search, GET /similar/ITEM, GET /readyz, "
    "GET /healthz"
)
Arm = Literal["control", "rest", "canary"]
#: Arms of a canary: when their engine is gone, their shoppers get the champion's answers.
GUARDED = ("control", "canary")


@dataclass(frozen=True, kw_only=True)
class Split:
    """Percent of shoppers per arm, and which engine serves those in neither arm of a canary.

    `mirror`: copies of all questions go to the canary's engine too. `salt` makes the split another one per release.
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
        """Weighted clusters in the order that keeps shoppers where they are; arms without traffic are left out."""
        arms = (
            ("control", "control-or-champion", self.control),
            ("rest", self.rest_engine, self.rest),
            ("canary", "canary-or-champion", self.canary),
        )
        return [
            {"name": name, "weight": weight, "request_headers_to_add": [_header(ARM_HEADER, arm)]}
            for arm, name, weight in arms
            if weight
        ]


def write(directory: Path, s: Settings, *, logs: Path | None = None) -> Path:
    """Write Envoy's files below `directory`; returns the path to start it with. Running it again is harmless.

    Routes that exist stay: they are what shoppers had when the edge stopped.
    """
    directory.mkdir(parents=True, exist_ok=True)
    logs = logs or s.region_home / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    write_clusters(directory, {slot: s.engine_address_of(slot) for slot in SLOTS})
    if not (directory / ROUTES).is_file():
        write_routes(directory, Split(), s)
    path = directory / BOOTSTRAP
    replace_file(path, bootstrap(directory.resolve(), s, logs.resolve()))
    return path


def write_routes(directory: Path, split: Split, s: Settings) -> None:
    """Route by `split` from now on; a running Envoy follows within milliseconds."""
    resource = {"@type": TYPE + "envoy.config.route.v3.RouteConfiguration"} | routes(split, s)
    replace_file(directory / ROUTES, {"resources": [resource]})
    replace_file(directory / SPLIT, asdict(split))


def read_split(directory: Path) -> Split | None:
    """The split that `write_routes` wrote last, or None before the first."""
    try:
        return Split(**yaml.safe_load((directory / SPLIT).read_text()))
    except (OSError, TypeError, ValueError, yaml.YAMLError):
        return None


def write_clusters(directory: Path, engines: dict[str, str]) -> None:
    """The engines there are: cluster name -> base URL; and the guarded arms among them."""
    kind = {"@type": TYPE + "envoy.config.cluster.v3.Cluster"}
    found = [cluster(name, url) for name, url in engines.items()]
    found += [_guarded(f"{arm}-or-champion", [arm, "champion"]) for arm in GUARDED if {arm, "champion"} <= set(engines)]
    replace_file(directory / CLUSTERS, {"resources": [kind | each for each in found]})


def command(bootstrap_path: Path) -> list[str]:
    """The command line that starts the edge: one thread, access log flushed four times a second."""
    options = ["--concurrency", "1", "--disable-hot-restart", "--file-flush-interval-msec", "250", "-l", "warning"]
    return ["envoy", "-c", str(bootstrap_path), *options]


def routes(split: Split, s: Settings) -> Yaml:
    """What is reachable from outside, and how long it may take."""
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
    post, get = _method("POST"), _method("GET")
    found: list[Yaml] = [
        {"match": {"path": "/recommend", "headers": [post]}, "route": answer},
        {"match": {"path": "/events", "headers": [post]}, "route": take},
        {
            "match": {"path": "/shopper", "headers": [post]},
            "route": take,
            "typed_per_filter_config": callers.mint_limit(),
        },
        {"match": {"path": "/search", "headers": [get]}, "route": retried},
        {"match": {"prefix": "/similar/", "headers": [get]}, "route": retried},
        {"match": {"path": "/readyz", "headers": [get]}, "route": probe},
        {"match": {"path": "/healthz", "headers": [get]}, "route": probe},
        {"match": {"path": "/active", "headers": [get]}, "route": probe},
    ]
    found += [
        {"match": {"path": path}, "direct_response": {"status": 405, "body": {"inline_string": f"use {method} {path}"}}}
        for method, path in (("POST", "/recommend"), ("POST", "/events"), ("POST", "/shopper"), ("GET", "/search"))
    ]
    for route in found:
        route["metadata"] = {"filter_metadata": {"envoy.filters.http.lua": {"salt": split.salt}}}
    found.append({"match": {"prefix": "/"}, "direct_response": {"status": 404, "body": {"inline_string": NO_ROUTE}}})
    return {
        "name": "caravan",
        "virtual_hosts": [{"name": "shop", "domains": ["*"], "routes": found}],
        "response_headers_to_remove": ["server", "x-envoy-upstream-service-time"],
    }


def cluster(name: str, url: str) -> Yaml:
    """One engine. Connections are given up before the engine would close them under a request."""
    where, numeric = _upstream(url)
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
        "health_checks": [envoy.health_check("/readyz", every=1, failures=2)],
        "typed_extension_protocol_options": envoy.http_1(),
    }


def _upstream(url: str) -> tuple[Yaml, bool]:
    """Envoy's address of a URL or of `unix:PATH`, and whether it needs no name looked up."""
    if url.startswith(SCHEME):
        return {"pipe": {"path": url.removeprefix(SCHEME)}}, True
    address = urlsplit(url)
    if not address.hostname or not address.port:
        raise SettingsError(f"the engine address {url} has no host or port", remedy="set CARAVAN_ENGINE_URL")
    numeric = address.hostname.replace(".", "").isdigit() or ":" in address.hostname
    return address_of(address.hostname, address.port), numeric


def _guarded(name: str, members: list[str]) -> Yaml:
    """The first of `members` that is healthy."""
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


def _header(name: str, value: str) -> Yaml:
    return {"header": {"key": name, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}


def _method(name: str) -> Yaml:
    return {"name": ":method", "string_match": {"exact": name}}


def replace_file(path: Path, content: Yaml) -> None:
    """Write `content` as YAML in one atomic step; a reader sees the old file or the new one."""
    atomic_write(path, yaml.safe_dump(content, sort_keys=False, width=120))
