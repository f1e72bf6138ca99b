"""`caravan alerts`: what somebody should look at."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer

from contracts.region import other
from contracts.settings import settings

STYLES = {"critical": "bold red", "warning": "yellow", "info": ""}


def alerts(
    last: Annotated[int, typer.Option("--last", min=1, help="How many, counted from the newest.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the newest alerts of this region, oldest first."""
    from rich.console import Console
    from rich.markup import escape

    from caravan.cli.console import tables
    from monitoring.alerts import Alert, read_alerts
    from recovery.drills.rehearsal import overdue

    s = settings()
    found = read_alerts(s)[-last:]
    if (s.home / "regions" / other(s.region)).is_dir() and (late := overdue(s)) is not None:
        found.append(Alert(at=datetime.now(UTC), part="recovery", severity="warning", text=late))
    if as_json:
        typer.echo(json.dumps([{**asdict(alert), "at": alert.at.isoformat()} for alert in found], indent=2))
        return
    if not found:
        typer.echo("no alerts")
        return
    table = tables.plain("when (UTC)", "severity", "part", "what")
    for alert in found:
        style = STYLES[alert.severity]
        severity = f"[{style}]{alert.severity}[/]" if style else alert.severity
        table.add_row(tables.when(alert.at), severity, alert.part, escape(alert.text))
    Console().print(table)
