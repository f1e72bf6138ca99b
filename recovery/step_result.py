"""Defines the result of a step whose caller needs more than a sentence for people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class StepResult:
    """What a step did, as one sentence for people, and the facts that programs need of it, by name."""

    summary: str
    facts: Mapping[str, str] = field(default_factory=dict)
