"""Shows the release in progress, its traffic and its evidence, while it happens: `caravan canary watch`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from contracts.errors import CaravanError
from contracts.settings import settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console, RenderableType

app = typer.Typer(help="Watch the canary: a release that some of the shoppers get.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Watch the canary: a release that some of the shoppers get."""


@app.command()
def watch(
    source: Annotated[str, typer.Option("--source", help="Data source; default: the one whose release moves.")] = "",
    once: Annotated[bool, typer.Option("--once", help="Print it once and end.")] = False,
    every: Annotated[float, typer.Option("--every", min=0.2, help="Seconds between two looks.")] = 1.0,
) -> None:
    """Show split, engines, guardrails and steps of the canary until Ctrl-C. Changes nothing."""
    from rich.console import Console

    from artifacts.database import engine
    from artifacts.ledger import Ledger
    from caravan.cli.release.canary_frame import frame
    from releases.overview import gather_overview
    from releases.rollout.region import LiveRegion

    s = settings()
    ledger, region = Ledger.of(s), LiveRegion(s)
    console = Console()
    try:
        follow(
            console, lambda: frame(gather_overview(s, ledger, engine(s), region, source=source)), once=once, every=every
        )
    finally:
        region.close()


def follow(console: Console, picture: Callable[[], RenderableType], *, once: bool, every: float) -> None:
    """Show `picture` again and again; an error is shown above the last one. Without a terminal: one after another."""
    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

    last = picture()
    if once:
        console.print(last)
        return
    try:
        if not console.is_terminal:
            while True:
                console.print(last)
                time.sleep(every)
                last = picture()
        with Live(last, console=console, auto_refresh=False, screen=True, vertical_overflow="crop") as live:
            while True:
                time.sleep(every)
                try:
                    last = picture()
                    live.update(last, refresh=True)
                except CaravanError as error:
                    live.update(Group(Text(f" {error} ", "bold white on red"), last), refresh=True)
    except KeyboardInterrupt:
        console.print(last)
