"""Records for the nightly chain that a release was built and passed the gate.

It may be called again for the same release: what is recorded stays, and nothing is added.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from artifacts.ledger import Ledger, PlannedMove

NIGHTLY = "nightly"
#: Characters of a reason that the gate may give.
LONGEST_GATE_REASON = 2_000


def gated(
    ledger: Ledger,
    source: str,
    digest: str,
    *,
    version: int,
    evidence: dict[str, Any],
    decision: Mapping[str, Any],
    author: str = NIGHTLY,
    policy: str = "default",
) -> None:
    """Record that `digest` was built and passed the gate; `author` had it made, `policy` is how it will be judged.

    `decision` is the release's own gate.json: its sentences, made from the figures they speak of, are the reason.
    """
    if ledger.state(source, digest) is None:
        planned = PlannedMove(
            source=source, digest=digest, expected=None, to="built", actor=NIGHTLY, reason="assembled",
            version=version, evidence={"author": author},
        )  # fmt: skip
        ledger.move(planned)
    if ledger.state(source, digest) == "built":
        planned = PlannedMove(
            source=source, digest=digest, expected="built", to="gated", actor=NIGHTLY, reason=reason(decision),
            version=version, evidence={**evidence, "policy": policy},
        )  # fmt: skip
        ledger.move(planned)


def reason(decision: Mapping[str, Any]) -> str:
    """Say what the gate found, in its own sentences."""
    sentences = [str(check["sentence"]) for check in decision.get("checks", ()) if check.get("name") != "numbers"]
    word = "passed" if decision.get("passed") else "was not passed by"
    said = f"{word} the gate: {' '.join(sentences)}" if sentences else f"{word} a gate that left no sentences"
    return said if len(said) <= LONGEST_GATE_REASON else said[: LONGEST_GATE_REASON - 2] + " …"
