"""What the nightly chain writes into the ledger: a release was built and passed the gate.

It may be called again for the same release: what is recorded stays, and nothing is added.
"""

from __future__ import annotations

from typing import Any

from artifacts.ledger import Ledger

NIGHTLY = "nightly"


def gated(
    ledger: Ledger,
    source: str,
    digest: str,
    *,
    version: int,
    evidence: dict[str, Any],
    author: str = NIGHTLY,
    policy: str = "default",
) -> None:
    """Record that `digest` was built and passed the gate; `author` had it made, `policy` is how it will be judged."""
    if ledger.state(source, digest) is None:
        ledger.move(
            source, digest, to="built", expected=None, actor=NIGHTLY, reason="assembled", version=version,
            evidence={"author": author},
        )  # fmt: skip
    if ledger.state(source, digest) == "built":
        reason = "passed the gate against the champion on the same held-out days"
        ledger.move(
            source, digest, to="gated", expected="built", actor=NIGHTLY, reason=reason, version=version,
            evidence={**evidence, "policy": policy},
        )  # fmt: skip
