"""Draws one frame of `caravan canary watch`: 80 columns, the gravest first, readable without colours too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from caravan.cli.console import tables
from caravan.cli.console.tables import SHORT
from contracts.region import SLOTS
from contracts.release import CANARY_STEPS
from releases.rollout.routing_wait import HEARTBEAT_TIMEOUT_S

if TYPE_CHECKING:
    from monitoring.canary_policy import CanaryPolicy
    from releases.overview import Overview, Subject
    from serving.edge.edge import TrafficSplit

WIDTH = 80
LABEL = 9
FULL, PART, EMPTY = "█", "▌", "·"
#: Arm -> how its share is drawn; told apart by shape, not by colour alone.
ARMS = (("control", "▒", "cyan"), ("rest", "█", "white"), ("canary", "▓", "magenta"))


def frame(seen: Overview) -> RenderableType:
    """Draw the whole page."""
    rows = Table.grid(padding=(0, 1, 0, 0))
    rows.add_column(width=LABEL, style="dim", no_wrap=True)
    rows.add_column(ratio=1, overflow="fold")
    subject = seen.subject
    for name, what in [*_release(seen), ("traffic", _split(seen.split)), ("engines", _engines(seen))]:
        rows.add_row(name, what)
    parts: list[RenderableType] = [_title(seen)]
    if seen.frozen is not None:
        parts.append(Text.from_markup(tables.banner(seen.frozen, seen.at)))
    if (silent := _silent(seen)) is not None:
        parts.append(Text(silent, "bold white on red"))
    parts.append(rows)
    if subject is not None and subject.verdict.get("guardrails"):
        parts += [Text(), _guardrails(subject)]
    if seen.moves:
        parts += [Text(), _moves(seen)]
    return Group(*parts)


def _title(seen: Overview) -> Table:
    line = Table.grid(expand=True)
    line.add_column()
    line.add_column(justify="right", style="dim")
    line.add_row(Text(f"Canary of {seen.source}", "bold"), f"{seen.region}, {seen.at:%Y-%m-%d %H:%M:%S} UTC")
    return line


def _silent(seen: Overview) -> str | None:
    if seen.beat is None:
        return " the controller has left no heartbeat here: `caravan status` "
    age = seen.at.timestamp() - seen.beat.at
    if age <= HEARTBEAT_TIMEOUT_S:
        return None
    return f" the controller has been silent for {_span(age)}: `caravan logs controller` "


def _release(seen: Overview) -> list[tuple[str, RenderableType]]:
    subject = seen.subject
    champion = seen.champion[:SHORT] if seen.champion else "none"
    if subject is None:
        return [("champion", champion), ("now", _doing(seen))]
    release = subject.release
    since = _span((seen.at - subject.since).total_seconds())
    policy = f"policy {subject.known.policy}" if subject.known else "not looked at yet"
    policy += ", [bold red]emergency[/]" if subject.emergency else ""
    found: list[tuple[str, RenderableType]] = [
        ("release", f"[bold]{release.digest[:SHORT]}[/]  {tables.state(release.state)} for {since}  [dim]{policy}[/]"),
        ("champion", champion),
    ]
    if subject.over:
        found.append(("ended", escape(subject.why)))
        return found
    if release.state in CANARY_STEPS and subject.policy is not None:
        found.append(("step", _step(seen, subject, subject.policy)))
    elif release.state in ("approved", "shadow"):
        found.append(("now", _doing(seen)))
    verdict = subject.verdict
    if verdict and release.state in CANARY_STEPS:
        style = {"abort": "bold red", "void": "bold red", "promote": "bold green"}.get(
            verdict.get("decision", ""), "bold"
        )
        reasons = escape("; ".join(verdict.get("reasons", ())[:3]))
        found.append(("verdict", f"[{style}]{str(verdict.get('decision', '')).upper()}[/]  {reasons}"))
    return found


def _doing(seen: Overview) -> str:
    """Say what the controller does, by its own words; what it said before it fell silent is no longer true."""
    if seen.beat is None or _silent(seen):
        return "nothing moves a release"
    return escape(seen.beat.doing)


def _step(seen: Overview, subject: Subject, policy: CanaryPolicy) -> Text:
    state = subject.known.canary if subject.known else None
    number = min(state.step if state else 0, len(policy.steps) - 1)
    step = policy.steps[number]
    spent = seen.at.timestamp() - state.step_started if state else 0.0
    gained = subject.gained()
    line = Text(f"{number + 1} of {len(policy.steps)}   ")
    line.append_text(bar(gained / step.minimum_shoppers, 8, "cyan"))
    line.append(f" {gained}/{step.minimum_shoppers} shoppers   ")
    line.append_text(bar(spent / step.minimum_s if step.minimum_s else 1.0, 8, "cyan"))
    line.append(f" {_span(spent)} of {_span(step.minimum_s)}")
    if spent > step.maximum_s:
        line.append("  overdue", "bold red")
    return line


def _split(split: TrafficSplit | None) -> Text:
    if split is None:
        return Text("the edge has no routes yet", "bold red")
    shares = {"control": split.control, "rest": split.rest, "canary": split.canary}
    width = WIDTH - LABEL - 2
    cells = {arm: max(1, round(share * width / 100)) if share else 0 for arm, share in shares.items()}
    cells["rest"] = width - cells["control"] - cells["canary"]
    line = Text()
    for arm, glyph, style in ARMS:
        line.append(glyph * cells[arm], style)
    line.append("\n")
    for arm, glyph, style in ARMS:
        if shares[arm]:
            line.append(f"{glyph} ", style)
            where = f" on {split.rest_engine}" if arm == "rest" else ""
            line.append(f"{arm} {shares[arm]} %{where}   ")
    if split.mirror:
        line.append("and a copy of every question to the shadow", "cyan")
    return line


def _engines(seen: Overview) -> Table:
    """Show two engines a line: the release that each serves, and the one that it refuses."""
    named = {seen.champion: "champion", seen.former: "former"}
    if seen.subject is not None and not seen.subject.over:
        named[seen.subject.release.digest] = "this release"
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(width=34, no_wrap=True)
    table.add_column(width=34, no_wrap=True)
    cells: list[Text] = []
    for slot in SLOTS:
        said = seen.engines.get(slot)
        cell = Text(f"{slot:<9}")
        if said is None or said.serves is None:
            cell.append((said.reason if said and said.reason else "nothing")[:25], "yellow")
        else:
            known = named.get(said.serves)
            cell.append(said.serves[:SHORT], "bold" if known == "this release" else "")
            cell.append(f" {known}" if known and known != slot else "", "dim")
        cells.append(cell)
    table.add_row(cells[0], cells[1])
    table.add_row(cells[2], cells[3])
    for slot in SLOTS:
        said = seen.engines.get(slot)
        if said is not None and said.refused:
            table.add_row(Text(f"{slot} refuses {said.refused[:SHORT]}", "bold red"), Text(said.reason[:34]))
    return table


def _guardrails(subject: Subject) -> RenderableType:
    """Show shoppers with an event in each arm, and how near the evidence is to the two lines."""
    policy = subject.policy
    abort, proof = (policy.log_abort, policy.log_proof) if policy else (0.0, 0.0)
    less = {g.name for g in policy.guardrails if g.harm == "less"} if policy else set()
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("guardrail", no_wrap=True)
    table.add_column("control", justify="right", no_wrap=True)
    table.add_column("canary", justify="right", no_wrap=True)
    table.add_column(f"harm, to {abort:.1f}" if policy else "harm", no_wrap=True)
    table.add_column(f"proof, to {proof:.1f}" if policy else "proof", no_wrap=True)
    table.add_column("status", ratio=1, overflow="fold")
    for e in subject.verdict["guardrails"]:
        table.add_row(
            e["guardrail"] + (" ↓" if e["guardrail"] in less else ""),
            _count(e, "control"), _count(e, "canary"),
            _evidence(e.get("log_e_abort"), abort, "red"), _evidence(e.get("log_e_proof"), proof, "green"),
            _status(e),
        )  # fmt: skip
    legend = "shoppers with an event / shoppers; log e and its line; ↓: fewer events are harm"
    return Group(table, Text(legend, "dim"))


def _count(e: dict[str, Any], arm: str) -> str:
    return f"{e[f'{arm}_events']:.0f}/{e[f'{arm}_shoppers']:.0f}"


def _evidence(value: float | None, line: float, style: str) -> Text:
    if value is None:
        return Text("-", "dim")
    found = bar(value / line if line else 0.0, 6, style)
    return found.append(f" {max(value, -99.9):5.1f}")


def _status(e: dict[str, Any]) -> Text:
    if e.get("aborts"):
        return Text("HARM", "bold red")
    if e.get("problem"):
        return Text(f"waiting: {e['problem']}", "yellow")
    return Text("proven", "green") if e.get("proven") else Text("ok")


def _moves(seen: Overview) -> Table:
    table = tables.plain("last moves", "to", "by", "why")
    table.columns[2].max_width, table.columns[2].overflow = 16, "ellipsis"
    for move in seen.moves:
        at, why = tables.when(move.at, seconds=True, now=seen.at), tables.one_line(tables.said(move))
        table.add_row(at, tables.state(move.to_state), escape(move.actor), why)
    return table


def bar(share: float, width: int, style: str) -> Text:
    """Draw `share` of 1 as a bar; below 0 it is empty, above 1 full."""
    halves = round(2 * width * min(max(share, 0.0), 1.0))
    full, part = divmod(halves, 2)
    line = Text().append(FULL * full + PART * part, style)
    return line.append(EMPTY * (width - full - part), "dim")


def _span(seconds: float) -> str:
    """Write a time span, short."""
    seconds = max(0.0, seconds)
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 2 * 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.0f} days"
