"""What a case is: a number, what is right, and a check that notes what it saw."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

LONGEST_SEEN = 60  # characters of one value in the table


@dataclass
class Looks:
    """What a check looked at: names and values, and of those that are wrong also what was right."""

    seen: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def equal(self, name: str, right: Any, seen: Any) -> None:
        """Note a value that must be `right`."""
        if right == seen:
            self.seen.append(f"{name} {_short(seen)}")
        else:
            self.wrong.append(f"{name} {_short(seen)}, not {_short(right)}")

    def holds(self, name: str, condition: object, seen: Any = "") -> None:
        """Note that something holds; `seen` is shown with it."""
        text = f"{name} {_short(seen)}".strip() if seen != "" else name
        if condition:
            self.seen.append(text)
        else:
            self.wrong.append(f"not so: {text}")


@dataclass(frozen=True)
class Given:
    """What a case may use: a folder of its own, the clock, and draws that the seed decides."""

    folder: Path
    draw: random.Random
    now: datetime
    run: str

    @classmethod
    def of(cls, number: str, folder: Path, seed: int) -> Given:
        """Make what case `number` is given; the same seed draws the same."""
        now = datetime.now(UTC)
        draw = random.Random(zlib.crc32(f"{seed} {number}".encode()))
        own = folder / number
        own.mkdir(parents=True, exist_ok=True)
        return cls(folder=own, draw=draw, now=now, run=f"{number.lower()}{int(now.timestamp()):x}")

    def day(self, ago: int) -> date:
        """Return the day so many days ago, in UTC."""
        return (self.now - timedelta(days=ago)).date()

    def at(self, ago: int, seconds: float = 0.0) -> str:
        """Return a moment of that day as ISO 8601 in UTC."""
        start = datetime.combine(self.day(ago), datetime.min.time(), UTC)
        return f"{start + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S.%fZ}"

    def write(self, name: str, text: str) -> Path:
        """Write a file of this case."""
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return path


#: `nothing`: runs in seconds in this process. `stack`: asks a running shop. `tests`: our tests prove it.
Needs = Literal["nothing", "stack", "tests"]


@dataclass(frozen=True)
class Case:
    """One case; `check` is called with Looks, Given and, where it needs a stack, the running shop."""

    number: str
    title: str
    right: str
    needs: Needs
    check: Callable[..., None]


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= LONGEST_SEEN else f"{text[:LONGEST_SEEN]}…"
