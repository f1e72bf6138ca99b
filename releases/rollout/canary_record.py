"""Keeps what a running canary remembers between two looks, in the database beside the ledger."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Engine, select
from sqlalchemy.dialects.postgresql import insert

from artifacts.database import answering
from artifacts.ledger import CurrentRelease, Move
from artifacts.tables import canaries
from monitoring.canary_judge import CanaryState


@dataclass(frozen=True, kw_only=True)
class Memory:
    """One canary: since when its logs count, what it is compared with, its evidence, and the last verdict to show."""

    source: str
    digest: str
    policy: str
    champion: str
    began_at: datetime
    canary: CanaryState | None = None
    verdict: dict[str, Any] | None = None


def begin(candidate: CurrentRelease, *, policy: str, champion: str | None, approved: Move | None, now: float) -> Memory:
    """Begin the memory of a release at its approval, or now; `now` in seconds since 1970, `champion`: who serves."""
    began = datetime.fromtimestamp(now, UTC)
    return Memory(
        source=candidate.source,
        digest=candidate.digest,
        policy=policy,
        champion=champion or "",
        began_at=began if approved is None else max(began, approved.at),
    )


def load(engine: Engine, source: str, digest: str) -> Memory | None:
    """Read the memory of a canary; None before its first look."""
    query = select(canaries).where(canaries.c.source == source, canaries.c.digest == digest)
    with answering(), engine.connect() as connection:
        row = connection.execute(query).mappings().one_or_none()
    if row is None:
        return None
    state = row["state"]
    return Memory(
        source=source,
        digest=digest,
        policy=row["policy"],
        champion=row["champion"],
        began_at=row["began_at"].astimezone(UTC),
        canary=CanaryState.from_json(json.dumps(state["canary"])) if state.get("canary") else None,
        verdict=state.get("verdict"),
    )


def save(engine: Engine, memory: Memory) -> None:
    """Keep the memory; the newest wins."""
    state = {"canary": json.loads(memory.canary.to_json()) if memory.canary else None, "verdict": memory.verdict}
    values = {
        "policy": memory.policy,
        "champion": memory.champion,
        "began_at": memory.began_at,
        "state": state,
        "updated_at": datetime.now(UTC),
    }
    row = insert(canaries).values(source=memory.source, digest=memory.digest, **values)
    with answering(), engine.begin() as connection:
        connection.execute(row.on_conflict_do_update(index_elements=["source", "digest"], set_=values))
