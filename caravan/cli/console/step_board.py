"""Steps of long work at the command line: a line each, changing in place on a terminal, else a line when it ends."""

from __future__ import annotations

from typing import Any

from caravan.cli.console.live_board import LiveBoard


class StepBoard(LiveBoard):
    """`board(step, what)` shows what a step does now. May be called from several threads."""

    def __init__(self) -> None:
        from rich.console import Console

        super().__init__(Console(stderr=True))
        self._now: dict[str, str] = {}

    def __exit__(self, *exception: object) -> None:
        super().__exit__(*exception)
        if self._live is None:
            self._say(*list(self._now.items())[-1:])

    def __call__(self, step: str, what: str) -> None:
        with self._lock:
            before = list(self._now.items())[-1:]
            self._now[step] = what
            if not self._shown() and before and before[0][0] != step:
                self._say(*before)

    def _say(self, *lines: tuple[str, str]) -> None:
        for step, what in lines:
            self._console.print(f"{step:12} {what}", highlight=False, markup=False, soft_wrap=True)

    def _table(self) -> Any:
        from rich.markup import escape
        from rich.table import Table

        table = Table(box=None, pad_edge=False, show_header=False)
        for step, what in self._now.items():
            table.add_row(step, escape(what))
        return table
