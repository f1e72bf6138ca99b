"""Ends a command with one of our errors: two lines, JSON where it was asked for, and the exit code."""

from __future__ import annotations

import json
from dataclasses import asdict

import typer

from contracts.error_record import ErrorRecord
from contracts.errors import CaravanError
from contracts.exit_codes import OUTCOMES, code_of


def tell(error: CaravanError, *, as_json: bool = False) -> int:
    """Print an error and its remedy to standard error, with `as_json` as JSON to standard output too; its exit code."""
    code = code_of(type(error))
    typer.secho(f"error: {error.what}", fg=typer.colors.RED, err=True)
    if error.remedy:
        typer.secho(f"  try: {error.remedy}", err=True)
    if as_json:
        typer.echo(json.dumps(error_facts(error)))
    return code


def error_facts(error: CaravanError) -> dict[str, str]:
    """Return what JSON says of an error. A command that prints other JSON too adds these to it, as one document."""
    return {"outcome": OUTCOMES[code_of(type(error))], **asdict(ErrorRecord.of(error))}
