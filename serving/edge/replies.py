"""Writes the edge's own errors in the engine's form: what is wrong in words, and the one remedy that fits it.

Envoy tells why it answers by itself in `response.code_details`; the first row that fits says it for a shop's engineer.
Our own refusals, in Lua and in routes, bring their remedy along.
"""

from __future__ import annotations

from dataclasses import dataclass

from serving.edge.envoy import TYPE, Yaml, make_extension
from serving.pipeline.schemas import MAX_BODY, MAX_EVENTS

#: Where Lua and routes leave the remedy of what they refuse: metadata of this name, in our namespace.
NAMESPACE, REMEDY = "caravan", "remedy"
#: Most headers of a request, their KiB together, and seconds until a request is whole.
MAX_HEADERS, MAX_HEADERS_KIB, REQUEST_TIMEOUT_S = 64, 16, 10


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What is said when `details` begins with one of these; `error` and `remedy` in Envoy's format (%% is a %)."""

    details: tuple[str, ...]
    error: str
    remedy: str
    retry: bool = False


REPLIES = (
    Reply(
        details=("lua_response",),
        error="%LOCAL_REPLY_BODY%",
        remedy=f"%DYNAMIC_METADATA({NAMESPACE}:{REMEDY})%",
    ),
    Reply(
        details=("direct_response",),
        error="%LOCAL_REPLY_BODY%",
        remedy=f"%METADATA(ROUTE:{NAMESPACE}:{REMEDY})%",
    ),
    Reply(
        details=("jwt_authn_access_denied",),
        error="the shopper's token is not valid: %LOCAL_REPLY_BODY%",
        remedy="get a new one with POST /shopper, or send none: neither in x-shopper-token nor in the cookie",
    ),
    Reply(
        details=("path_normalization_failed",),
        error="the path has an escaped slash in it, or cannot be read",
        remedy="an item_id with a slash goes into the query, percent-encoded: GET /similar?item_id=HW%%2F34",
    ),
    Reply(
        details=("request_payload_too_large", "request_payload_exceeded"),
        error=f"the body is larger than {MAX_BODY} bytes",
        remedy=f"send it in several requests: at most {MAX_EVENTS} events in each",
    ),
    Reply(
        details=("http1.headers_too_large", "http2.headers_too_large", "request_headers_too_large"),
        error=f"the headers are larger than {MAX_HEADERS_KIB} KiB together",
        remedy="send fewer or shorter ones; mostly it is cookies of the shop's other pages",
    ),
    Reply(
        details=("http1.too_many_headers", "http2.too_many_headers"),
        error=f"there are more than {MAX_HEADERS} headers",
        remedy="send fewer; none but those of the documentation are read",
    ),
    Reply(
        details=("local_rate_limited", "request_rate_limited"),
        error="too many requests are coming",
        remedy="wait as retry-after says, then send it again",
        retry=True,
    ),
    Reply(
        details=("no_healthy_upstream", "cluster_not_found", "no_cluster"),
        error="no engine can answer now",
        remedy="try again in a second; GET /readyz says when a release serves",
        retry=True,
    ),
    Reply(
        details=("response_timeout", "upstream_response_timeout", "upstream_per_try_timeout"),
        error="the engine did not answer in time",
        remedy="ask again; an event that is sent again with its event_id counts once",
    ),
    Reply(
        details=("upstream_reset_before_response_started{overflow",),
        error="more requests are under way than the engine takes at once",
        remedy="wait as retry-after says, then send it again",
        retry=True,
    ),
    Reply(
        details=("upstream_reset", "upstream_connection"),
        error="the engine went away before it answered",
        remedy="send it again; an event that is sent again with its event_id counts once",
        retry=True,
    ),
    Reply(
        details=("request_overall_timeout", "request_header_timeout", "stream_idle_timeout", "max_duration_timeout"),
        error="the request came too slowly",
        remedy=f"send all of it within {REQUEST_TIMEOUT_S} seconds, the headers within five",
    ),
    Reply(
        details=("upgrade_failed",),
        error="connections are not upgraded: there are no websockets here",
        remedy="send a plain request, without the header upgrade",
    ),
    Reply(
        details=("missing_host_header",),
        error="there is no header host",
        remedy="send host with the name that the address has",
    ),
    Reply(
        details=("overload",),
        error="the edge has no room for another request",
        remedy="wait as retry-after says, then send it again",
        retry=True,
    ),
    Reply(
        details=("http1.", "http2."),
        error="the request is not HTTP as it should be (%RESPONSE_CODE_DETAILS%)",
        remedy="send it with a common HTTP client, HTTP/1.1 or HTTP/2",
    ),
)
OTHERWISE = Reply(
    details=(),
    error="%LOCAL_REPLY_BODY% (%RESPONSE_CODE_DETAILS%)",
    remedy="look the request id up in the edge's access log",
)


def make_local_replies() -> Yaml:
    """Make the part of a connection manager that words its own answers."""
    return {"mappers": [_make_mapper(reply) for reply in REPLIES], "body_format": _make_format(OTHERWISE)}


def make_remedy(text: str) -> Yaml:
    """Make the metadata of a route that answers by itself: the remedy for what it refuses."""
    return {NAMESPACE: {REMEDY: text}}


def _make_mapper(reply: Reply) -> Yaml:
    expression = " || ".join(f"response.code_details.startsWith('{one}')" for one in reply.details)
    config = {
        "@type": f"{TYPE}envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter",
        "expression": expression,
    }
    mapper: Yaml = {
        "filter": {"extension_filter": make_extension("envoy.access_loggers.extension_filters.cel", config)},
        "body_format_override": _make_format(reply),
    }
    if reply.retry:
        retry = {"header": {"key": "retry-after", "value": "1"}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
        mapper["headers_to_add"] = [retry]
    return mapper


def _make_format(reply: Reply) -> Yaml:
    """Make the format of an error: the same as the engine's."""
    return {"json_format": {"error": reply.error, "remedy": reply.remedy, "request_id": "%REQ(X-REQUEST-ID)%"}}
