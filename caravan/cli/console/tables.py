"""Draws tables and times at the command line: at most 80 columns, no boxes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from contracts.release import CANARY_STEPS, NOTES

if TYPE_CHECKING:
    from artifacts.ledger import Move
    from contracts.release import Note, State

#: How states and notes are shown. Notes are what was said about a release; they move nothing.
STATES: dict[str, str] = {
    "champion": "bold green", "retired": "dim", "rejected": "red", "rolled_back": "red", "approved": "cyan",
    "shadow": "cyan", **dict.fromkeys(CANARY_STEPS, "magenta"),
    "refused": "yellow italic", "asked": "italic", "approval": "italic", "frozen": "blue italic",
    "thawed": "blue italic", "overdue": "yellow italic", "extended": "italic", "serves": "bold blue italic",
}  # fmt: skip
SHORT = 12


def plain(*titles: str, title: str = "") -> Table:
    """Make a table without lines; the last column takes what is left."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), title=title, title_justify="left", title_style="bold")
    for name in titles[:-1]:
        table.add_column(name, no_wrap=True, header_style="dim")
    table.add_column(titles[-1], header_style="dim", overflow="fold", ratio=1)
    return table


def one_line(markup: str) -> Text:
    """Return text that is cut where the line ends, so that a row stays a row."""
    text = Text.from_markup(markup)
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def when(at: datetime, *, seconds: bool = False, now: datetime | None = None) -> str:
    """Write a time in UTC, as short as it can be: the year only where it is not this one."""
    at = at.astimezone(UTC)
    day = "%m-%d" if at.year == (now or datetime.now(UTC)).year else "%Y-%m-%d"
    return at.strftime(f"{day} %H:%M:%S" if seconds else f"{day} %H:%M")


def state(name: State | Note) -> str:
    """Write a state, or a note in brackets, in its colour."""
    shown = escape(f"({name})") if name in NOTES else name
    return f"[{STATES[name]}]{shown}[/]" if name in STATES else shown


def said(move: Move) -> str:
    """Return a row's reason; of an answer, what was answered."""
    reason = escape(move.reason)
    if move.to_state == "approval":
        return f"{'yes' if move.evidence.get('approval') else 'no'}: {reason}"
    if move.to_state in ("frozen", "asked", "extended") and move.evidence.get("until"):
        return f"{reason}; until {when(datetime.fromisoformat(move.evidence['until']))}"
    return reason


def banner(held: Move, now: datetime) -> str:
    """Write a freeze in force, to be seen first."""
    end = datetime.fromisoformat(held.evidence["until"])
    text = escape(f" FROZEN until {when(end)} UTC ({time_left(end, now)}) by {held.actor}: {held.reason} ")
    return f"[bold white on blue]{text}[/]"


def time_left(end: datetime, now: datetime) -> str:
    """Say how long it is until `end`."""
    minutes = max(0, round((end - now).total_seconds() / 60))
    if minutes < 120:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min" if minutes < 48 * 60 else f"{minutes // 1440} days"


def evidence(body: Mapping[str, Any]) -> list[str]:
    """List what a move rests on, one line per entry; a verdict's guardrails in one line each."""
    lines = []
    for name, value in sorted(body.items()):
        if name == "guardrails" and isinstance(value, list):
            lines += [f"  {_guardrail(entry)}" for entry in value]
        elif value not in (None, [], {}, ""):
            lines.append(f"  {name}: {value if isinstance(value, str) else json.dumps(value, sort_keys=True)}")
    return lines


def _guardrail(e: Mapping[str, Any]) -> str:
    arms = "  ".join(f"{arm} {e[f'{arm}_events']:.0f}/{e[f'{arm}_shoppers']:.0f}" for arm in ("control", "canary"))
    proof = "-" if e.get("log_e_proof") is None else f"{e['log_e_proof']:.1f}"
    verdict = "HARM" if e.get("aborts") else "proven" if e.get("proven") else e.get("problem") or "ok"
    return f"{e['guardrail']:<15} {arms}  harm {e['log_e_abort']:.1f}  proof {proof}  {verdict}"
