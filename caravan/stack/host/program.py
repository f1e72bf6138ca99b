"""Describes one program of the local stack: what to run, where it listens, and how to tell that it answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path


def _nothing() -> None:
    return None


@dataclass(frozen=True, kw_only=True)
class Program:
    """A program under supervisor. Two programs of one stack never share a `name`.

    `prepare` runs before a start, only when the program does not run yet (folders, configuration files);
    `ready` is asked with the time of the start (seconds since 1970) until it says True;
    `finish` runs once it answers, at every `up` (databases, buckets), and must be idempotent.
    `leftovers` are files that it leaves when it is killed and that would hinder the next start;
    `patience` is how many seconds it may take to answer, `stop_patience` how many to stop before it is killed.
    """

    group: str
    service: str
    command: tuple[str, ...]
    directory: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    ports: Mapping[str, int] = field(default_factory=dict)
    address: str = ""
    after: tuple[str, ...] = ()
    ready: Callable[[float], bool]
    prepare: Callable[[], None] = _nothing
    finish: Callable[[], None] = _nothing
    leftovers: tuple[Path, ...] = ()
    stop_signal: str = "TERM"
    stop_as_group: bool = True
    is_store: bool = False
    patience: float = 300.0
    stop_patience: int = 20

    @property
    def name(self) -> str:
        """The supervisor's name for it, for example `primary-redis`."""
        return f"{self.group}-{self.service}"

    @property
    def process(self) -> str:
        """Name within the supervisor's process group, for example `primary:primary-redis`."""
        return f"{self.group}:{self.name}"
