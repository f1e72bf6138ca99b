"""`caravan sweep`: what nobody names any more, shown, and removed when asked to."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from caravan.cli.console.ending import tell
from contracts.errors import StoreUnavailable
from contracts.region import named
from contracts.settings import Settings, settings

#: Seconds that Airflow's own cleaning of its database may take.
_AIRFLOW_TIMEOUT_S = 900.0


def sweep(
    apply: Annotated[bool, typer.Option("--apply", help="Remove it; without, only say what would go.")] = False,
    region: Annotated[str, typer.Option(help="Another region than that of the environment.")] = "",
    airflow: Annotated[bool, typer.Option(help="Also old rows of Airflow's database (`airflow db clean`).")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Find old copies, files and objects that no pointer, ledger or version names; remove them with --apply."""
    from recovery.sweeping.sweep import sweep as go

    s = settings()
    s = s.of_region(named(region)) if region else s
    now = datetime.now(UTC)
    report = go(s, now=now, apply=apply)
    undone = dict(report.undone)
    if airflow and (why := _clean_airflow(s, now, apply=apply)):
        undone["Airflow's rows"] = why
    error = StoreUnavailable(
        "; ".join(f"{part}: {why}" for part, why in undone.items()), remedy="run it again when they answer"
    )
    if as_json:
        typer.echo(json.dumps({**asdict(report), "undone": undone}, indent=2))
        if undone:
            raise typer.Exit(tell(error))
        return
    verb = "removed" if apply else "would go"
    for kind, number in sorted(report.number.items()):
        typer.echo(f"{number} {kind}, {report.size[kind] / 1e6:.1f} MB {verb}")
    if not report.number:
        typer.echo("nothing is both old and named by nobody")
    elif not apply:
        typer.echo("`caravan sweep --apply` removes it")
    if undone:
        raise error


def _clean_airflow(s: Settings, now: datetime, *, apply: bool) -> str:
    """Let Airflow remove its own old rows; return what went wrong, or nothing where there is no Airflow."""
    from caravan.stack.services.control import airflow_environment, airflow_home

    if not (airflow_home(s) / "airflow.cfg").is_file():
        return ""
    before = (now - timedelta(days=s.sweep_after_days)).isoformat()
    done = subprocess.run(
        [sys.executable, "-m", "airflow", "db", "clean", "--clean-before-timestamp", before, "--skip-archive",
         "--yes" if apply else "--dry-run"],
        env=airflow_environment(s), capture_output=True, text=True, check=False, timeout=_AIRFLOW_TIMEOUT_S,
    )  # fmt: skip
    return (done.stderr.strip().splitlines() or ["it failed"])[-1] if done.returncode else ""
