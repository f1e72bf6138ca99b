"""`caravan replay`: recorded sessions through the edge at a chosen rate, and what came of it per release."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from contracts.region import RegionName
from contracts.settings import settings
from contracts.text import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from serving.replay.plan import ReplayPlan
    from serving.replay.report import Quantiles, ReplayReport, ReportRow

#: Days of the generated shop that are replayed when no events are named.
LAST_DAYS = 7
#: Seconds between two lines where the output is no terminal.
PROGRESS_LINE_INTERVAL_S = 5.0
#: Digits of a digest that are shown.
DIGITS = 12
#: Columns of the tables where the output is no terminal.
WIDTH = 120


def replay(
    events: Annotated[
        list[Path] | None,
        typer.Option(
            help=f"Events in the contract; may be given again. Default: the last {LAST_DAYS} days of the newest shop "
            "below <home>/demo.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    rate: Annotated[float, typer.Option(help="Steps of shoppers per second; their events come on top.")] = 50.0,
    duration: Annotated[float, typer.Option(help="Seconds. A shorter recording is passed through again.")] = 60.0,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same order.")] = 7,
    k: Annotated[int, typer.Option(min=1, max=100, help="Items asked for.")] = 10,
    url: Annotated[str | None, typer.Option(help="Where to send; default: the region's edge.")] = None,
    json_out: Annotated[Path | None, typer.Option("--json", help="Where the report goes as JSON.")] = None,
    timeout: Annotated[float, typer.Option(help="Longest wait for one answer, seconds.")] = 5.0,
    follow: Annotated[
        float, typer.Option(min=0, max=1, help="Share of misses after which the shopper finds the item anyway.")
    ] = 1.0,
    only_hits: Annotated[
        bool, typer.Option(help="Send clicks, carts and purchases only of items that were shown.")
    ] = True,
    similar: Annotated[
        float, typer.Option(min=0, max=1, help="Share of interactions before which /similar is asked.")
    ] = 0.0,
    fresh_shoppers: Annotated[
        bool, typer.Option("--fresh-shoppers", help="Every pass through the recording is other shoppers.")
    ] = False,
    shoppers: Annotated[int, typer.Option(min=1, help="Shoppers in the shop at a time.")] = 200,
    fail_on_error: Annotated[
        bool, typer.Option("--fail-on-error", help="Exit code 1 when a request failed or the rate was not held.")
    ] = False,
) -> None:
    """Replay recorded sessions; show throughput, latency and hit rate per release. Ctrl-C ends early and reports."""
    from serving.replay.plan import ReplayPlan

    console = _console()
    plan = ReplayPlan(
        url=url or settings().edge_address,
        key=key_for(url),
        rate=rate,
        duration=duration,
        seed=seed,
        k=k,
        timeout=timeout,
        follow=follow,
        only_hits=only_hits,
        similar=similar,
        fresh_shoppers=fresh_shoppers,
        shoppers=shoppers,
        progress_every=1.0 if console.is_terminal else PROGRESS_LINE_INTERVAL_S,
    )
    report = _replayed(console, plan, events or newest_events(settings().home / "demo"))
    _show(console, report)
    if json_out is not None:
        json_out.parent.mkdir(parents=True, exist_ok=True)
        json_out.write_text(json.dumps(report.as_json(), indent=1) + "\n")
    if fail_on_error and (report.errors or not report.held):
        raise typer.Exit(1)


def _console() -> Console:
    """Return a console that is wide enough for the tables where the output is no terminal."""
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=WIDTH)


def _replayed(console: Console, plan: ReplayPlan, files: list[Path]) -> ReplayReport:
    """Replay the sessions of `files`, and show the progress."""
    from serving.replay.open_loop import run_replay
    from serving.replay.sessions import read_sessions

    sessions = read_sessions(files)
    people = len({session.user_id for session in sessions})
    console.print(
        f"{len(sessions):,} sessions of {people:,} shoppers, {plan.rate:g} steps/s for {plan.duration:g} s, {plan.url}"
    )
    with _interruptible() as stop, _shown(console) as progress:
        return run_replay(plan, sessions, progress=progress, stop=stop)


def key_for(url: str | None) -> str | None:
    """Return the shop's key for our own edges, None for any other address: who listens there must not get it."""
    s = settings()
    ours = {s.edge_address, s.global_edge_address, *(s.edge_address_of(region) for region in get_args(RegionName))}
    return s.shop_key if url is None or url.rstrip("/") in ours else None


def newest_events(demo: Path) -> list[Path]:
    """List the last days' files of the shop made last below `demo`. Raises NotFound when there is none."""
    from contracts.errors import NotFound

    shops = sorted(demo.glob("*/events/"), key=lambda folder: folder.stat().st_mtime, reverse=True)
    for shop in shops:
        if files := sorted(shop.glob("*.parquet")):
            return files[-LAST_DAYS:]
    raise NotFound(
        f"there is no generated shop below {demo}",
        remedy=f"caravan shop generate --out {demo / 'shop'}, or name files: --events FILE",
    )


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """Yield an event that the first Ctrl-C sets; a second one ends the command at once."""
    stop = threading.Event()

    def interrupt(*_: Any) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        stop.set()

    former = signal.signal(signal.SIGINT, interrupt)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, former)


@contextmanager
def _shown(console: Console) -> Iterator[Callable[[ReplayReport], None]]:
    """Show progress: a table that stays in its place on a terminal, else lines."""
    if not console.is_terminal:
        yield lambda report: console.print(line_of(report), soft_wrap=True, highlight=False)
        return
    from rich.console import Group
    from rich.live import Live

    with Live(console=console, auto_refresh=False, transient=True) as live:
        yield lambda report: live.update(Group(line_of(report), *_tables(report)), refresh=True)


def line_of(report: ReplayReport) -> str:
    """Write a replay in one line."""
    hits = [f"{_short(row)} {row.hit_rate:.1%}" for row in report.rows if row.hit_rate is not None]
    parts = [
        f"{report.seconds:.0f} s",
        f"{report.achieved_rate:.1f} of {report.asked_rate:g} steps/s",
        f"{report.answers:,} answers",
        f"{sum(report.errors.values()):,} errors",
        f"p50/p95/p99 {_three(report.latency_ms)} ms",
        f"hits {', '.join(hits) or '-'}",
    ]
    return "  ".join(parts)


def _show(console: Console, report: ReplayReport) -> None:
    console.print(*_tables(report), sep="\n")
    late = report.lateness_ms
    console.print(
        f"{report.arrivals:,} steps in {report.seconds:.1f} s: {report.achieved_rate:.1f} of {report.asked_rate:g} per "
        f"second; {report.requests:,} requests, {report.answers:,} answers, errors: {_counts(report.errors)}; "
        f"{report.shoppers:,} shoppers, {report.passes} passes; {report.events_rejected:,} events rejected",
        soft_wrap=True,
        highlight=False,
    )
    console.print(
        f"all routes p50/p95/p99/max {_three(report.latency_ms)}/{_ms(report.latency_ms.max)} ms from the plan; "
        f"the generator left p50/p95/p99/max {_three(late)}/{_ms(late.max)} ms late",
        soft_wrap=True,
        highlight=False,
    )
    if not report.held:
        console.print(
            f"[red]The generator did not hold the rate[/]: {report.unsent:,} steps were not sent, and see how late it "
            "was. What stands above is about a smaller or less even load than was asked for.",
            soft_wrap=True,
        )
    if report.requests and not report.answers:
        console.print("[red]Nothing was answered[/]: see `caravan status`, or give another --url", soft_wrap=True)


def _tables(report: ReplayReport) -> Iterator[Table]:
    """Yield the tables of requests per release and route, and of what came of the answers."""
    from rich.table import Table

    requests = Table("release", "route", "requests", "share", "p50/p95/p99/max ms", "errors")
    answers = Table("release", "route", "fallback", "empty", "hits (95 % interval)", "clicks", "carts", "purchases")
    for row in report.rows:
        latency = f"{_three(row.latency_ms)}/{_ms(row.latency_ms.max)}"
        requests.add_row(_short(row), row.route, f"{row.requests:,}", f"{row.share:.1%}", latency, _counts(row.errors))
        if row.trials or row.events or row.fallbacks or row.empty:
            events = (f"{row.events.get(kind, 0):,}" for kind in ("click", "add_to_cart", "purchase"))
            answers.add_row(_short(row), row.route, f"{row.fallbacks:,}", f"{row.empty:,}", _hits(row), *events)
    yield requests
    if answers.row_count:
        yield answers


def _short(row: ReportRow) -> str:
    """Return the release's first digits. They come from outside: nothing in them may steer the terminal."""
    from rich.markup import escape

    return escape(printable(row.release[:DIGITS]))


def _hits(row: ReportRow) -> str:
    if row.hit_rate is None:
        return "-"
    low, high = row.hit_interval
    return f"{row.hit_rate:.1%} ({low:.1%} to {high:.1%}) of {row.trials:,}"


def _counts(errors: dict[str, int]) -> str:
    return ", ".join(f"{number:,} {kind}" for kind, number in errors.items()) or "none"


def _three(found: Quantiles) -> str:
    return "/".join(map(_ms, (found.p50, found.p95, found.p99)))


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}" if value < 100 else f"{value:,.0f}"
