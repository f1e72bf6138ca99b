"""What a fault subject reports."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(kw_only=True)
class Outcome:
    """`count` cases were tried; each failure is one sentence that names its seed."""

    count: int
    failures: list[str] = field(default_factory=list)
