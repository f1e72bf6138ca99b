"""Every command takes --json, and prints one document then, whatever it would have printed to people."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, Any

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from caravan.cli import main
from caravan.cli.console.json_answer import answer_in_json

console = Console()


def commands(group: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{above}{name} ")
        else:
            yield f"{above}{name}", command


TREE = dict(commands(typer.main.get_command(main.app)))


@pytest.mark.parametrize("name", TREE)
def test_every_command_takes_it_and_says_so(name: str) -> None:
    assert "--json" in {decl for parameter in TREE[name].params for decl in parameter.opts}, name


def build(code: int) -> typer.Typer:
    app = typer.Typer()

    @app.command()
    def work(size: Annotated[int, typer.Option("--size")] = 1) -> None:
        typer.secho(f"begun with {size}", fg=typer.colors.RED)
        console.print("[red]half[/red] done")
        print("all done")
        if code:
            raise typer.Exit(code)

    @app.command()
    def own(as_json: Annotated[bool, typer.Option("--json")] = False) -> None:
        typer.echo(json.dumps({"mine": as_json}))

    answer_in_json(app)
    return app


@pytest.mark.parametrize(("code", "outcome"), [(0, "done"), (3, "refused"), (4, "nothing")])
def test_one_document_and_the_text_beside_it(code: int, outcome: str) -> None:
    result = CliRunner().invoke(build(code), ["work", "--size", "7", "--json"])
    assert result.exit_code == code
    assert json.loads(result.stdout) == {
        "outcome": outcome, "what": "all done", "remedy": "", "lines": ["begun with 7", "half done", "all done"]
    }  # fmt: skip
    assert "begun with 7" in result.stderr


def test_without_it_nothing_changes() -> None:
    result = CliRunner().invoke(build(0), ["work"])
    assert (result.exit_code, result.stdout.splitlines()) == (0, ["begun with 1", "half done", "all done"])
    assert json.loads(CliRunner().invoke(build(0), ["own", "--json"]).stdout) == {"mine": True}
