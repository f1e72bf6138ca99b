"""`caravan up`, `down`, `status`, `logs`: the local stack."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from typing import Annotated, Any

import typer

from caravan.cli.console.live_board import LiveBoard
from contracts.errors import SettingsError
from contracts.exit_codes import NOTHING, UNANSWERED
from contracts.region import named


def up(
    region: Annotated[
        list[str] | None, typer.Option(help="primary (the default) or standby; may be given twice.")
    ] = None,
    control: Annotated[bool, typer.Option(help="Start Airflow too (and leave it as it is with --no-control).")] = True,
    new_key: Annotated[
        list[str] | None, typer.Option(help="A lost key of this home that is to be made again; may be given again.")
    ] = None,
) -> None:
    """Start the services, wait until they answer, and show where they are. Starts only what does not run."""
    from rich.console import Console

    from caravan import stack
    from contracts.settings import settings

    console, began = Console(), time.monotonic()
    with _Board(console) as board:
        regions = tuple(named(name) for name in dict.fromkeys(region or ["primary"]))
        said: list[str] = []
        stack.up(
            settings(), regions=regions, control=control, progress=board.tell, new_keys=new_key or (), tell=said.append
        )
    for line in said:
        console.print(line, soft_wrap=True, highlight=False)
    console.print(f"ready after {time.monotonic() - began:.0f} s; secrets are in {settings().home / 'secrets'}")
    _show(console)


def down() -> None:
    """Stop every service; what they stored stays."""
    from rich.console import Console

    from caravan import stack
    from contracts.settings import settings

    console, began = Console(), time.monotonic()
    with _Board(console) as board:
        stack.down(settings(), progress=board.tell)
    console.print(f"down after {time.monotonic() - began:.0f} s")


def status(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Show each service: state, address, memory, uptime. Exit code 1 when one of them is not ready."""
    from rich.console import Console

    from caravan import stack
    from contracts.settings import settings

    found = stack.status(settings())
    if as_json:
        typer.echo(json.dumps([asdict(service) for service in found], indent=2))
    elif found:
        _show(Console())
    else:
        typer.echo(f"nothing runs at {settings().home}; start it with `caravan up`")
    if not found:
        raise typer.Exit(NOTHING)
    if any(service.state != "ready" for service in found):
        raise typer.Exit(UNANSWERED)


def logs(
    service: Annotated[str, typer.Argument(help="A name from `caravan status`, with or without its group.")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="How many lines to begin with.")] = 100,
) -> None:
    """Print the end of a service's log."""
    from caravan.stack.lifecycle import programs
    from caravan.stack.supervision import supervisor
    from contracts.settings import settings

    known = programs(settings())
    matching = [p for p in known if service in (p.name, p.service)]
    if not matching:
        names = ", ".join(p.name for p in known) or "none has been started"
        raise SettingsError(f"there is no service {service}", remedy=f"one of: {names}")
    # a bare name that several groups share means the region's, and the primary's before the standby's
    chosen = next((p for p in matching if p.group == "primary"), matching[0])
    path = supervisor.log_file(settings(), chosen)
    if not path.is_file():
        typer.echo(f"{chosen.name} has not written a log yet ({path})")
        return
    with path.open(errors="replace") as file:
        for line in file.readlines()[-lines:] if lines else []:
            typer.echo(line, nl=False)
        while follow:
            line = file.readline()
            if line:
                typer.echo(line, nl=False)
            else:
                time.sleep(0.3)


def _show(console: Any) -> None:
    from rich.table import Table

    from caravan import stack
    from contracts.settings import settings

    table = Table(box=None, pad_edge=False)
    for title in ("service", "state", "address"):
        table.add_column(title)
    table.add_column("memory", justify="right")
    table.add_column("uptime", justify="right")
    total = 0
    for service in stack.status(settings()):
        total += service.memory
        colour = "green" if service.state == "ready" else "red"
        table.add_row(
            service.name,
            f"[{colour}]{service.state}[/{colour}]",
            service.address,
            f"{service.memory / 1e6:.0f} MB",
            _duration(service.uptime),
        )
    table.add_row("", "", "", f"{total / 1e6:.0f} MB", "")
    console.print(table)


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"


class _Board(LiveBoard):
    """Shows one line per service that changes in place on a terminal; on anything else a line per step."""

    def __init__(self, console: Any) -> None:
        super().__init__(console)
        self._now: dict[str, tuple[str, float]] = {}

    def tell(self, name: str, what: str, seconds: float) -> None:
        with self._lock:
            before = self._now.get(name, ("", 0.0))[0]
            self._now[name] = (what, seconds)
            if not self._shown() and what != before:
                self._console.print(f"{name:24} {what:10} {seconds:5.1f} s", highlight=False)

    def _table(self) -> Any:
        from rich.table import Table

        colours = {"ready": "green", "stopped": "green", "failed": "red"}
        table = Table(box=None, pad_edge=False, show_header=False)
        for name in sorted(self._now):
            what, seconds = self._now[name]
            table.add_row(name, f"[{colours.get(what, 'yellow')}]{what}", f"{seconds:.1f} s")
        return table
