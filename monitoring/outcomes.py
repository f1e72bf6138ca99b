"""From logs to the outcomes of a canary: the edge's access log and the engines' answer log become counts of shoppers.

Errors, timeouts and latency come from the edge, because an engine that hangs reports nothing; what was answered and
what shoppers did comes from the engines. Both carry the shopper's opaque id and the arm that the edge *meant*: when a
dead canary's shoppers were given the champion's answer, that is the canary's error.

A log that is missing, or that lags behind the other one, makes its guardrails incomplete: the judge then holds.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal

from monitoring.canary_policy import CanaryPolicy
from monitoring.guardrails import Arm, Exposure, Outcomes, ShopperEvent, count_outcomes
from monitoring.log_tail import Line, Tail, TailOfFolder, is_counted

#: Guardrails by the log that feeds them.
OF_EDGE = ("errors", "timeouts", "over_budget")
OF_ENGINES = (
    "fallbacks", "empty_answers", "unknown_items", "stale_features", "clicks", "carts", "purchases",
)  # fmt: skip
ACTIONS = {"click": "clicks", "add_to_cart": "carts", "purchase": "purchases"}
#: Envoy's flag of what it turned away for its rate; lines from before the edge wrote `read` have no other sign.
RATE_LIMITED = "RL"
#: Envoy's flag of a client that closed its connection before it had the answer.
LEFT = "DC"
#: Share of the deadline after which an answer counts as one that came too late.
SLOW = 0.95
#: Seconds after which a line is in its log: Envoy and the engines write several times a second.
SETTLING = 1.0
#: An engine's log that ends this many seconds before the edge last saw it answer is late.
SILENCE = 5.0


@dataclass(frozen=True, kw_only=True)
class Watched:
    """Which canary is looked at, and what counts as too slow. `since`: seconds since 1970; times in milliseconds.

    `catalog`: items that exist; None means it is not known, and the guardrail `unknown_items` gets no tally.
    """

    canary: str
    champion: str
    since: float
    budget_ms: float
    deadline_ms: float
    catalog: Container[str] | None


@dataclass
class OutcomeReader:
    """Reads on from where it stopped; everything is derived from the logs, so a new one comes to the same counts."""

    watched: Watched
    access_log: Path
    answer_log: Path
    _first: dict[str, tuple[float, Arm]] = field(default_factory=dict)
    _events: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    _answered: dict[Arm, float] = field(default_factory=dict)  # newest answer per arm, as the edge saw it
    _told: dict[Arm, float] = field(default_factory=dict)  # newest line per arm in the engines' log

    def __post_init__(self) -> None:
        since = self.watched.since
        self._edge = Tail(self.access_log, _edge_time, since)
        self._engines = TailOfFolder(self.answer_log, _engine_time, since)

    def outcomes(self, policy: CanaryPolicy, *, now: float) -> Outcomes:
        """Totals up to now."""
        for line in self._edge.read():
            self._of_edge(line)
        for line in self._engines.read():
            self._of_engine(line)
        self._prune()
        exposures = [Exposure(shopper=who, arm=arm, at=at) for who, (at, arm) in self._first.items()]
        events = [
            ShopperEvent(shopper=who, guardrail=name, at=at)
            for (who, name), times in self._events.items()
            for at in times
        ]
        return count_outcomes(policy.guardrails, exposures, events, complete_until=self._complete_until(now))

    def _complete_until(self, now: float) -> dict[str, float]:
        until: dict[str, float] = {}
        if self.access_log.exists():
            until |= dict.fromkeys(OF_EDGE, now - SETTLING)
            late = [
                self._told.get(arm, self.watched.since)
                for arm, answered in self._answered.items()
                if self._told.get(arm, self.watched.since) < answered - SILENCE
            ]
            until |= dict.fromkeys(OF_ENGINES, min([now - SETTLING, *late]))
        if self.watched.catalog is None:
            until.pop("unknown_items", None)
        return until

    def _of_edge(self, line: Line) -> None:
        arm, shopper, path = _arm(line.get("arm")), line.get("shopper"), str(line.get("path"))
        if arm is None or not shopper or not path.startswith(("/recommend", "/search", "/similar/")):
            return
        if not is_counted(line):
            return  # nobody whom the shop or we know: whoever that is, it decides on no release
        if line.get("read", "1") != "1" or RATE_LIMITED in str(line.get("flags")):
            return  # turned away unread: what it says of its arm is only its sender's word
        at, code, waited = _edge_time(line), int(line.get("code") or 0), _waited_ms(line)
        if LEFT in str(line.get("flags")).split(",") and waited < SLOW * self.watched.deadline_ms:
            return  # the client went away before the engine was due: whoever does that says nothing of a release
        met = self._first.get(shopper)
        if met is None or at < met[0]:
            self._first[shopper] = (at, arm)
        timed_out = "UT" in str(line.get("flags")) or code == 504 or waited >= SLOW * self.watched.deadline_ms
        expected = self.watched.canary if arm == "canary" else self.watched.champion
        answered_by = line.get("release")
        stand_in = code == 200 and answered_by not in (None, "", "-", expected)
        if code == 200 and not stand_in:
            self._answered[arm] = max(self._answered.get(arm, 0.0), at)
        if timed_out:
            self._happened(shopper, "timeouts", at)
        elif code >= 500 or code == 0 or stand_in:
            self._happened(shopper, "errors", at)
        if waited > self.watched.budget_ms:
            self._happened(shopper, "over_budget", at)

    def _of_engine(self, line: Line) -> None:
        arm, shopper, at = _arm(line.get("arm")), line.get("shopper"), _engine_time(line)
        if arm is None or not shopper or line.get("shadow") or not is_counted(line):
            return
        if line.get("kind") == "events":
            for kind, name in ACTIONS.items():
                if line.get("actions", {}).get(kind):
                    self._happened(shopper, name, at)
            return
        self._told[arm] = max(self._told.get(arm, 0.0), at)
        items, catalog = line.get("items") or [], self.watched.catalog
        if line.get("fallback"):
            self._happened(shopper, "fallbacks", at)
        if not items:
            self._happened(shopper, "empty_answers", at)
        if line.get("stale"):
            self._happened(shopper, "stale_features", at)
        if catalog is not None and any(item not in catalog for item in items):
            self._happened(shopper, "unknown_items", at)

    def _happened(self, shopper: str, guardrail: str, at: float) -> None:
        self._events.setdefault((shopper, guardrail), []).append(at)

    def _prune(self) -> None:
        """Once a shopper's first exposure is known, only the first event after it matters."""
        for (shopper, _), times in self._events.items():
            met = self._first.get(shopper)
            if met and len(times) > 1:
                after = [at for at in times if at >= met[0]]
                times[:] = [min(after)] if after else [times[-1]]


def _arm(value: object) -> Arm | None:
    known: dict[object, Literal["control", "canary"]] = {"control": "control", "canary": "canary"}
    return known.get(value)


def _waited_ms(line: Line) -> float:
    """Milliseconds between the end of the request at the edge and the engine's first byte, or until nobody waited more.

    A slow network or a client that sends its body in two halves is no fault of a release. Lines of an earlier edge have
    the whole duration alone.
    """
    duration = float(line.get("duration_ms") or 0)
    if "sent_ms" not in line:
        return duration
    sent, waited = line["sent_ms"], line.get("waited_ms")
    if isinstance(waited, int | float):
        return float(waited)
    return max(0.0, duration - float(sent)) if isinstance(sent, int | float) else 0.0


def _edge_time(line: Line) -> float:
    return datetime.fromisoformat(line["time"]).timestamp()


def _engine_time(line: Line) -> float:
    return float(line["t"])
