"""What long work and the services do now: a table that changes in place on a terminal, else lines."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from typing import Any, Self


class LiveBoard(ABC):
    """Shows `_table()` in place while it is entered, where the console is a terminal."""

    def __init__(self, console: Any) -> None:
        self._console = console
        self._lock = threading.Lock()
        self._live: Any = None

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            from rich.live import Live

            self._live = Live(console=self._console, refresh_per_second=8)
            self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._live is not None:
            self._live.stop()

    def _shown(self) -> bool:
        """Show the table again; false where there is no terminal and lines must tell it."""
        if self._live is None:
            return False
        self._live.update(self._table())
        return True

    @abstractmethod
    def _table(self) -> Any:
        """Return the table as it is now."""
