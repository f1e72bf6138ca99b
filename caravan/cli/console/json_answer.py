"""Gives `--json` to every command that has none of its own: one document on standard output, the text on the other."""

from __future__ import annotations

import functools
import inspect
import json
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from io import TextIOBase
from typing import Annotated, Any

import typer
from rich.text import Text

from contracts.exit_codes import DONE, OUTCOMES

Json = Annotated[bool, typer.Option("--json", help="Print the outcome as JSON; what is told meanwhile goes to stderr.")]
#: Lines of what a command printed that its document keeps.
KEPT_LINES = 1_000


class _Told(TextIOBase):
    """Passes text on to standard error, and keeps its lines."""

    def __init__(self) -> None:
        self._parts: list[str] = []

    def write(self, text: str) -> int:
        if not isinstance(text, str):  # Typer asks streams whether they take bytes
            raise TypeError("text only")
        self._parts.append(text)
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()

    @property
    def lines(self) -> list[str]:
        found = (line.rstrip() for line in Text.from_ansi("".join(self._parts)).plain.splitlines())
        return [line for line in found if line][-KEPT_LINES:]


def answer_in_json(app: typer.Typer) -> None:
    """Give the option to each command of `app` and of what is mounted in it, unless it prints JSON by itself."""
    for command in app.registered_commands:
        if command.callback is not None and not _has_option(command.callback):
            command.callback = _with_option(command.callback)
    for group in app.registered_groups:
        if group.typer_instance is not None:
            answer_in_json(group.typer_instance)


def _has_option(command: Callable[..., Any]) -> bool:
    hints = inspect.get_annotations(command, eval_str=True).values()
    options = (part for hint in hints for part in getattr(hint, "__metadata__", ()))
    # within Annotated, Typer keeps the first name as the option's default until it reads the command
    return any("--json" in (getattr(o, "default", None), *(getattr(o, "param_decls", None) or ())) for o in options)


def _with_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap `command`: the same, and with --json a document {outcome, what, remedy, lines} when it has ended.

    `what` is the last line that it printed. A CaravanError is told by caravan.cli.main, as it is for all commands.
    """

    @functools.wraps(command)
    def answered(*args: Any, as_json: bool, **named: Any) -> None:
        if not as_json:
            command(*args, **named)
            return
        told, code = _Told(), DONE
        try:
            with redirect_stdout(told):
                command(*args, **named)
        except typer.Exit as ended:
            code = ended.exit_code
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else DONE if ended.code is None else 1
        lines = told.lines
        what = lines[-1] if lines else ""
        typer.echo(json.dumps({"outcome": OUTCOMES.get(code, "fault"), "what": what, "remedy": "", "lines": lines}))
        raise typer.Exit(code)

    signature = inspect.signature(command, eval_str=True)
    option = inspect.Parameter("as_json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Json)
    answered.__signature__ = signature.replace(parameters=[*signature.parameters.values(), option])  # type: ignore[attr-defined]
    answered.__annotations__ = {**inspect.get_annotations(command, eval_str=True), "as_json": Json}
    return answered
