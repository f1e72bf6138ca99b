"""Reads a canary's outcomes from logs: the edge's access log and the engines' answer log become counts of shoppers.

Errors, timeouts and latency come from the edge, because an engine that hangs reports nothing; answers and the actions
of shoppers come from the engines. Both carry the shopper's opaque id and the arm that the edge *meant*: when a dead
canary's shoppers were given the champion's answer, that is the canary's error.

A log that is missing, or that lags behind the other one, makes its guardrails incomplete: the judge then holds.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Literal

from monitoring.canary_policy import CanaryPolicy
from monitoring.exposures import Exposures, read_origin
from monitoring.guardrails import Arm, Outcomes, count_outcomes
from monitoring.log_tail import Line, Tail, TailOfFolder, is_counted

#: Guardrails by the log that feeds them.
OF_EDGE = ("errors", "timeouts", "over_budget")
OF_ENGINES = (
    "fallbacks", "empty_answers", "unknown_items", "stale_features", "clicks", "carts", "purchases",
)  # fmt: skip
ACTIONS = {"click": "clicks", "add_to_cart": "carts", "purchase": "purchases"}
#: Envoy's flag of a request beyond its rate limit; lines from before the edge wrote `read` have no other sign.
RATE_LIMITED = "RL"
#: Envoy's flag of a client that closed its connection before it had the answer.
LEFT = "DC"
#: Share of the deadline after which an answer counts as one that came too late.
LATE_SHARE = 0.95
#: Time after which a line is in its log: Envoy and the engines write several times a second.
LOG_SETTLING_S = 1.0
#: An engine's log is late when it ends this long before the edge last saw the engine answer.
MAX_LOG_SILENCE_S = 5.0


@dataclass(frozen=True, kw_only=True)
class Watched:
    """The canary to read of, and its limits of time. `since`: seconds since 1970; other times in milliseconds.

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
    """A reader that goes on from where it stopped; all is derived from the logs, so a new one has the same counts."""

    watched: Watched
    access_log: Path
    answer_log: Path
    shoppers: Exposures = field(default_factory=Exposures)
    _answered: dict[Arm, float] = field(default_factory=dict)  # newest answer per arm, as the edge saw it
    _logged: dict[Arm, float] = field(default_factory=dict)  # newest line per arm in the engines' log

    def __post_init__(self) -> None:
        since = self.watched.since
        self._edge = Tail(self.access_log, _edge_time, since)
        self._engines = TailOfFolder(self.answer_log, _engine_time, since)

    def read_outcomes(self, policy: CanaryPolicy, *, now: float) -> Outcomes:
        """Read the new lines, and return the totals up to now."""
        for line in self._edge.read():
            self._take_edge_line(line)
        for line in self._engines.read():
            self._take_engine_line(line)
        self.shoppers.forget_old()
        found = count_outcomes(
            policy.guardrails, self.shoppers.exposures(), self.shoppers.events(),
            complete_until=self._complete_until(now),
        )  # fmt: skip
        return replace(found, left_out=tuple(self.shoppers.left_out.say()))

    def _complete_until(self, now: float) -> dict[str, float]:
        until: dict[str, float] = {}
        if self.access_log.exists():
            until |= dict.fromkeys(OF_EDGE, now - LOG_SETTLING_S)
            late = [
                self._logged.get(arm, self.watched.since)
                for arm, answered in self._answered.items()
                if self._logged.get(arm, self.watched.since) < answered - MAX_LOG_SILENCE_S
            ]
            until |= dict.fromkeys(OF_ENGINES, min([now - LOG_SETTLING_S, *late]))
        if self.watched.catalog is None:
            until.pop("unknown_items", None)
        return until

    def _take_edge_line(self, line: Line) -> None:
        arm, shopper = _arm(line.get("arm")), line.get("shopper")
        if arm is None or not shopper or not self._is_exposure(line):
            return
        at, code, waited = _edge_time(line), int(line.get("code") or 0), _waited_ms(line)
        counts = self.shoppers.expose(shopper, arm, at, read_origin(line))
        timed_out = "UT" in str(line.get("flags")) or code == 504 or waited >= LATE_SHARE * self.watched.deadline_ms
        expected = self.watched.canary if arm == "canary" else self.watched.champion
        answered_by = line.get("release")
        stand_in = code == 200 and answered_by not in (None, "", "-", expected)
        if code == 200 and not stand_in:
            self._answered[arm] = max(self._answered.get(arm, 0.0), at)
        if not counts:
            return
        if timed_out:
            self.shoppers.add_event(shopper, "timeouts", at)
        elif code >= 500 or code == 0 or stand_in:
            self.shoppers.add_event(shopper, "errors", at)
        if waited > self.watched.budget_ms:
            self.shoppers.add_event(shopper, "over_budget", at)

    def _is_exposure(self, line: Line) -> bool:
        """Say whether a line of the edge is of a known shopper's question that an engine had its time to answer."""
        flags = str(line.get("flags"))
        if not str(line.get("path")).startswith(("/recommend", "/search", "/similar")):
            return False
        if not is_counted(line):
            return False  # a caller whom neither the shop nor a token names decides on no release
        if line.get("read", "1") != "1" or RATE_LIMITED in flags:
            return False  # turned away unread: the arm in the line is only its sender's claim
        # a client that went away before the engine was due says nothing of a release
        return LEFT not in flags.split(",") or _waited_ms(line) >= LATE_SHARE * self.watched.deadline_ms

    def _take_engine_line(self, line: Line) -> None:
        arm, shopper, at = _arm(line.get("arm")), line.get("shopper"), _engine_time(line)
        if arm is None or not shopper or line.get("shadow") or not is_counted(line):
            return
        if line.get("kind") == "events":
            for kind, name in ACTIONS.items():
                if line.get("actions", {}).get(kind):
                    self.shoppers.add_event(shopper, name, at)
            return
        self._logged[arm] = max(self._logged.get(arm, 0.0), at)
        items, catalog = line.get("items") or [], self.watched.catalog
        if line.get("fallback"):
            self.shoppers.add_event(shopper, "fallbacks", at)
        if not items:
            self.shoppers.add_event(shopper, "empty_answers", at)
        if line.get("stale"):
            self.shoppers.add_event(shopper, "stale_features", at)
        if catalog is not None and any(item not in catalog for item in items):
            self.shoppers.add_event(shopper, "unknown_items", at)


def _arm(value: object) -> Arm | None:
    known: dict[object, Literal["control", "canary"]] = {"control": "control", "canary": "canary"}
    return known.get(value)


def _waited_ms(line: Line) -> float:
    """Return the milliseconds from the end of the request at the edge to the engine's first byte, or to the end.

    A slow network or a client that sends its body in two halves is no fault of a release. Lines of an earlier edge have
    only the whole duration.
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
