"""Lets browsers of the shop's own origins ask the edge (CORS); a foreign origin gets no permission."""

from __future__ import annotations

import re

from contracts.errors import SettingsError
from contracts.settings import Settings
from serving.callers import TOKEN_HEADER
from serving.edge.envoy import HTTP_FILTER, Yaml, make_extension
from serving.edge.replies import make_remedy

#: An origin as a browser sends it: no path, no blank, and never a pattern.
_ORIGIN = re.compile(r"https?://[a-z0-9.-]+(:[0-9]{1,5})?|https?://\[[0-9a-f:]+\](:[0-9]{1,5})?")
#: Seconds for which a browser may remember a permission.
MAX_AGE_S = 600


def read_origins(s: Settings) -> list[str]:
    """Return the origins that the setting names. Raises SettingsError for what no browser would send."""
    found = [name for part in s.allowed_origins.split(",") if (name := part.strip().lower())]
    for name in found:
        if not _ORIGIN.fullmatch(name):
            raise SettingsError(
                f"CARAVAN_ALLOWED_ORIGINS: {name} is not an origin",
                remedy="write scheme and host, with a port where it is not the usual one: https://shop.example",
            )
    return found


def make_origin_filter() -> Yaml:
    """Make the filter that answers the preflight of an allowed origin, and lets its pages read the answers."""
    return make_extension("envoy.filters.http.cors", {"@type": f"{HTTP_FILTER}cors.v3.Cors"})


def make_origin_policy(s: Settings) -> Yaml:
    """Make what a virtual host allows. The shop's key belongs into no browser, so its header is not among the allowed.

    Credentials are: the token may come in its cookie.
    """
    policy = {
        "@type": f"{HTTP_FILTER}cors.v3.CorsPolicy",
        "allow_origin_string_match": [{"exact": origin} for origin in read_origins(s)],
        "allow_methods": "GET, POST",
        "allow_headers": f"content-type, content-encoding, {TOKEN_HEADER}",
        "expose_headers": "x-request-id, retry-after",
        "max_age": str(MAX_AGE_S),
        "allow_credentials": True,
    }
    return {"envoy.filters.http.cors": policy}


def make_preflight_routes(s: Settings, route: Yaml) -> list[Yaml]:
    """Make the routes of preflights: the filter answers those of allowed origins, all others are refused here.

    The filter looks only at requests that a `route` would lead somewhere; an answered one never goes there.
    """
    asks = [
        {"name": ":method", "string_match": {"exact": "OPTIONS"}},
        {"name": "access-control-request-method", "present_match": True},
    ]
    allowed = [
        {
            "match": {"prefix": "/", "headers": [*asks, {"name": "origin", "string_match": {"exact": origin}}]},
            "route": route,
        }
        for origin in read_origins(s)
    ]
    refused = {
        "match": {"prefix": "/", "headers": [*asks, {"name": "origin", "present_match": True}]},
        "direct_response": {"status": 403, "body": {"inline_string": "pages of this origin may not ask here"}},
        "metadata": {
            "filter_metadata": make_remedy(
                "name the shop's origins in CARAVAN_ALLOWED_ORIGINS, or let the shop's server ask"
            )
        },
    }
    return [*allowed, refused]
