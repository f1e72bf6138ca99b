"""Measures an engine; Prometheus reads the metrics at /metrics."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest

_SECONDS = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)


class Meters:
    """The engine's metrics, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        r = self.registry
        self.requests = Histogram(
            "caravan_request_seconds",
            "Time to answer, by route and status.",
            ["route", "status"],
            buckets=_SECONDS,
            registry=r,
        )
        self.stages = Histogram(
            "caravan_stage_seconds", "Time of one stage of an answer.", ["route", "stage"], buckets=_SECONDS, registry=r
        )
        self.fallbacks = Counter("caravan_fallbacks", "Labelled fallbacks, by reason.", ["route", "reason"], registry=r)
        self.stale = Counter("caravan_stale_features", "Answers from features past their age limit.", registry=r)
        self.empty = Counter("caravan_empty_answers", "Answers without a single item.", ["route"], registry=r)
        self.removed = Counter("caravan_filtered", "Candidates that a filter removed.", ["filter"], registry=r)
        self.shed = Counter("caravan_shed", "Requests refused because too many were under way.", ["route"], registry=r)
        self.in_flight = Gauge("caravan_in_flight", "Requests under way.", ["route"], registry=r)
        self.events = Counter("caravan_events", "Events by verdict.", ["verdict"], registry=r)
        self.ready = Gauge("caravan_ready", "1 while a release serves.", registry=r)
        self.release = Gauge(
            "caravan_release", "1 for the release that serves, 0 for those before it.", ["digest", "source"], registry=r
        )
        self.impressions_shed = Gauge(
            "caravan_impressions_shed", "Answers whose impressions were not logged.", registry=r
        )
        self.log_lag = Gauge("caravan_event_log_lag_seconds", "Age of the oldest event not on disk yet.", registry=r)
        self.push_backlog = Gauge("caravan_push_backlog", "Events that wait for the online store.", registry=r)
        self._serving: tuple[str, str] | None = None
        self._stage_children: dict[tuple[str, str], Histogram] = {}

    def show_release(self, digest: str, source: str) -> None:
        """Show that `digest` is the release that serves."""
        if self._serving is not None:
            self.release.labels(*self._serving).set(0)
        self._serving = (digest, source)
        self.release.labels(digest, source).set(1)

    def count_answer(self, route: str, timings_ms: dict[str, float], fallback: str | None, items: int | None) -> None:
        """Count one answer. `items` is None where an answer has none by nature."""
        children = self._stage_children
        for stage, milliseconds in timings_ms.items():
            child = children.get((route, stage))
            if child is None:
                child = children[route, stage] = self.stages.labels(route, stage)
            child.observe(milliseconds / 1000.0)
        if fallback is not None:
            self.fallbacks.labels(route, fallback).inc()
        if items == 0:
            self.empty.labels(route).inc()

    def render(self) -> bytes:
        """Return all metrics in the text format."""
        return generate_latest(self.registry)
