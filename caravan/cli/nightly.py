"""`caravan nightly` and `caravan backfill`: start the chain through Airflow, and follow it until it has ended."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table

from caravan.cli.airflow_api import ENDED, Airflow
from contracts.dates import read_day
from contracts.error_record import ErrorRecord
from contracts.errors import CaravanError, SettingsError, StackError
from contracts.exit_codes import DONE, FAULT, NOTHING, REFUSED, worst
from contracts.settings import Settings, settings

DAG = "nightly"
LOG_TAIL = 12
POLL_INTERVAL_S = 2.0
#: Seconds that a run may wait for another one before people hear of it, and between two lines about it.
QUEUED_RUN_NOTICE_S, QUEUED_RUN_REPEAT_S = 10.0, 60.0
#: Seconds without an answer from Airflow before following a run is given up.
AIRFLOW_SILENCE_LIMIT_S = 300.0
COLOURS = {
    "success": "green", "failed": "bold red", "upstream_failed": "red", "up_for_retry": "yellow",
    "running": "cyan", "skipped": "magenta",
}  # fmt: skip

Source = Annotated[str, typer.Option("--source", help="Data source, as named at `caravan ingest`.")]
Recipe = Annotated[str, typer.Option("--recipe", help="How to train; see training/recipes.py.")]
Rollout = Annotated[
    str, typer.Option("--rollout", help="How its release is judged: default, or demo. Default: the setting.")
]
console = Console()


def nightly(
    day: Annotated[str, typer.Option("--day", help="Day to process, YYYY-MM-DD (UTC). Default: yesterday.")] = "",
    source: Source = "",
    recipe: Recipe = "default",
    rollout: Rollout = "",
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Follow the run until it has ended.")] = True,
) -> None:
    """Run the nightly chain for one day, through Airflow."""
    s = settings()
    chosen = read_day(day, over=True) if day.strip() else datetime.now(UTC).date() - timedelta(days=1)
    source, rollout = source or s.shop, rollout or s.canary_policy
    _check(recipe, rollout)
    airflow = Airflow.of(s)
    if airflow.ensure_ready(DAG):
        console.print(f"{DAG} was paused; it is on now")
    conf = {"day": chosen.isoformat(), "source": source, "recipe": recipe, "rollout": rollout}
    run_id = airflow.trigger(DAG, conf, note=f"{source}, {chosen}, recipe {recipe}; started with `caravan nightly`")
    console.print(f"started {_page(s, run_id)}")
    if not wait:
        return
    try:
        follow(airflow, lambda: [airflow.run(DAG, run_id)], done=lambda runs: runs[0]["state"] in ENDED)
    except KeyboardInterrupt:
        console.print(f"not following any more; the run goes on at {_page(s, run_id)}")
        return
    conclude(airflow, s, [airflow.run(DAG, run_id)])


def _check(recipe: str, rollout: str) -> None:
    """Raise SettingsError for names that there are not, before Airflow is asked."""
    from monitoring.canary_policy import policy_named
    from training import recipes

    recipes.get(recipe)
    policy_named(rollout)


def backfill(
    first: Annotated[str, typer.Option("--from", help="First day, YYYY-MM-DD (UTC).")],
    last: Annotated[str, typer.Option("--to", help="Last day, included.")],
    source: Source = "",
    recipe: Recipe = "default",
    rollout: Rollout = "",
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Follow it until it has ended.")] = True,
) -> None:
    """Run the nightly chain for a range of days, oldest first, with Airflow's own backfill."""
    s = settings()
    start, stop = read_day(first, over=True), read_day(last, over=True)
    if stop < start:
        raise SettingsError(f"--to {stop} is before --from {start}", remedy="swap them")
    source, rollout = source or s.shop, rollout or s.canary_policy
    _check(recipe, rollout)
    airflow = Airflow.of(s)
    if airflow.ensure_ready(DAG):
        console.print(f"{DAG} was paused; it is on now")
    number = airflow.backfill(DAG, start, stop, {"source": source, "recipe": recipe, "rollout": rollout})
    console.print(f"backfill {number} of {source}, {start} to {stop}: {s.airflow_address}/dags/{DAG}/backfills")
    if not wait:
        return

    def runs() -> list[dict[str, Any]]:
        return [run for run in airflow.runs_between(DAG, start, stop) if run["run_type"] == "backfill"]

    try:
        follow(airflow, runs, done=lambda _: airflow.backfill_state(number)["completed_at"] is not None)
    except KeyboardInterrupt:
        console.print("not following any more; the backfill goes on")
        return
    ended, wanted = runs(), (stop - start).days + 1
    if len(ended) != wanted:
        raise CaravanError(
            f"{len(ended)} of {wanted} days have a run", remedy=f"see {s.airflow_address}/dags/{DAG}/backfills"
        )
    conclude(airflow, s, ended)


def follow(
    airflow: Airflow, runs: Callable[[], list[dict[str, Any]]], *, done: Callable[[list[dict[str, Any]]], bool]
) -> None:
    """Show the tasks of `runs` until they are `done`: a live table in a terminal, else a line per change.

    Airflow may be slow or restarted meanwhile: its StackError is raised after AIRFLOW_SILENCE_LIMIT_S without an
    answer, not before.
    """
    seen: dict[tuple[str, str], str] = {}
    states: dict[str, str] = {}
    tasks: dict[str, list[dict[str, Any]]] = {}
    heard = time.monotonic()
    next_word = heard + QUEUED_RUN_NOTICE_S
    with Live(console=console, refresh_per_second=4, transient=False, auto_refresh=False) as live:
        while True:
            try:
                present = runs()
                for run in present:  # of a long backfill most runs wait, or have ended: each look costs Airflow
                    name, state = str(run["dag_run_id"]), str(run["state"])
                    if state == "running" or states.get(name) != state:
                        tasks[name] = airflow.tasks(DAG, name)
                        states[name] = state
                ended = done(present)
            except StackError:
                if time.monotonic() - heard > AIRFLOW_SILENCE_LIMIT_S:
                    raise
                time.sleep(POLL_INTERVAL_S)
                continue
            heard = time.monotonic()
            if heard >= next_word and {run["state"] for run in present} == {"queued"}:
                console.print(_waits_for(airflow), markup=False, highlight=False, soft_wrap=True)
                next_word = heard + QUEUED_RUN_REPEAT_S
            if console.is_terminal:
                live.update(_table(present, tasks), refresh=True)
            else:
                _print_changes(present, tasks, seen)
            if ended:
                return
            time.sleep(POLL_INTERVAL_S)


def _waits_for(airflow: Airflow) -> str:
    """Write the line for a run that has not begun: nights run one at a time."""
    ahead = [
        f"{_day_of(run)} ({run['dag_run_id']}, since {str(run['start_date'])[:19]})" for run in airflow.running(DAG)
    ]
    return f"waits for its turn; under way: {', '.join(ahead) or 'nothing, so the scheduler is slow or away'}"


def _table(runs: list[dict[str, Any]], tasks: dict[str, list[dict[str, Any]]]) -> Table:
    """Draw one row per task of a single run; of several runs, one row per day and one column per task."""
    if len(runs) == 1:
        table = Table("task", "state", "seconds", "try", title=_day_of(runs[0]))
        for task in _in_order(tasks[runs[0]["dag_run_id"]]):
            table.add_row(task["task_id"], _painted(task["state"]), _seconds(task), str(task["try_number"]))
        return table
    names = [task["task_id"] for task in _in_order(next(iter(tasks.values()), []))]
    table = Table("day", *names, "run")
    for run in runs:
        state = {task["task_id"]: task for task in tasks[run["dag_run_id"]]}
        cells = [f"{_painted(state[n]['state'])} {_seconds(state[n])}" if n in state else "" for n in names]
        table.add_row(_day_of(run), *cells, _painted(run["state"]))
    return table


def _print_changes(
    runs: list[dict[str, Any]], tasks: dict[str, list[dict[str, Any]]], seen: dict[tuple[str, str], str]
) -> None:
    for run in runs:
        for task in _in_order(tasks[run["dag_run_id"]]):
            key, state = (run["dag_run_id"], task["task_id"]), str(task["state"])
            if task["state"] and seen.get(key) != state and state not in ("scheduled", "queued"):
                seconds = f" {_seconds(task)} s" if task["duration"] and state != "running" else ""
                console.print(f"{_day_of(run)} {task['task_id']:<12} {state}{seconds}", highlight=False)
            seen[key] = state


def conclude(airflow: Airflow, s: Settings, runs: list[dict[str, Any]]) -> None:
    """Say how each night ended; for a failed task, its error and the end of its log. Exits with what that means."""
    codes: list[int] = []
    for run in runs:
        tasks = _in_order(airflow.tasks(DAG, run["dag_run_id"]))
        codes += [_explain(airflow, run, task) for task in tasks if task["state"] == "failed"]
        states = {str(task["task_id"]): str(task["state"]) for task in tasks}
        code, task = _ending(str(run["state"]), states)
        if code == FAULT and "failed" in states.values():
            code = DONE  # told above, as what the failed task's error means
        codes.append(code)
        console.print(
            f"{_day_of(run)}: [{COLOURS.get(run['state'], '')}]{run['state']}[/] {_page(s, run['dag_run_id'])}"
        )
        if code in (REFUSED, NOTHING):
            reason = ErrorRecord.from_json(airflow.left(DAG, run["dag_run_id"], task, "error"))
            what = reason.what if reason else str(airflow.left(DAG, run["dag_run_id"], task, "says") or "")
            console.print(what, style="yellow", markup=False, highlight=False, soft_wrap=True)
            if reason and reason.remedy:
                console.print(f"  try: {reason.remedy}", markup=False, highlight=False, soft_wrap=True)
        _say_who_is_asked(airflow, run)
    if code := worst(codes):
        raise typer.Exit(code)


def _ending(state: str, tasks: dict[str, str]) -> tuple[int, str]:
    """Return what a night's end means as an exit code, and the task that can say more."""
    if state != "success":
        return FAULT, ""
    if tasks.get("champion_stays") == "success":
        return REFUSED, "champion_stays"
    if tasks.get("validate") == "skipped":
        return NOTHING, "validate"
    return DONE, ""


def _say_who_is_asked(airflow: Airflow, run: dict[str, Any]) -> None:
    """Print a line for a release that people are asked about: its digest, and the two places to answer."""
    page = airflow.left(DAG, run["dag_run_id"], "offer", "release")
    digest = str(airflow.left(DAG, run["dag_run_id"], "offer", "return_value") or "")[:12]
    if page and digest:
        console.print(
            f"release {digest} waits for approval: {page}/required_actions "
            f'or `caravan release approve {digest} --reason "…"`',
            highlight=False,
            soft_wrap=True,
        )


def _explain(airflow: Airflow, run: dict[str, Any], task: dict[str, Any]) -> int:
    """Print the end of a failed task's log, its error and the remedy; what the error means as an exit code."""
    events = airflow.log(DAG, run["dag_run_id"], task["task_id"], task["try_number"])
    error = ErrorRecord.from_json(airflow.left(DAG, run["dag_run_id"], task["task_id"], "error"))
    logged = next((e["error_detail"][0] for e in reversed(events) if e.get("error_detail")), None)
    if error is None and logged:  # not one of our steps
        error = ErrorRecord(error=str(logged.get("exc_type")), what=str(logged.get("exc_value", "")))
    console.rule(f"{_day_of(run)} {task['task_id']} failed")
    for event in [e for e in events if not str(e.get("event", "")).startswith("::")][-LOG_TAIL:]:
        console.print(f"  {event.get('level', ''):<8} {event.get('event', '')}", markup=False, highlight=False)
    if error:
        console.print(f"{error.error}: {error.what}", style="red", markup=False, highlight=False)
        if error.remedy:
            console.print(f"  try: {error.remedy}", markup=False, highlight=False)
    return error.code if error else FAULT


def _in_order(tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Sort by the order of the chain: what started first, then what has not started, by priority."""
    return sorted(tasks, key=lambda t: (t["start_date"] or "9", -int(t.get("priority_weight") or 0)))


def _painted(state: str | None) -> str:
    return f"[{COLOURS[state]}]{state}[/]" if state in COLOURS else (state or "-")


def _seconds(task: dict[str, Any]) -> str:
    if task["duration"]:
        return f"{task['duration']:.1f}"
    if task["state"] == "running" and task["start_date"]:
        started = datetime.fromisoformat(task["start_date"].replace("Z", "+00:00"))
        return f"{(datetime.now(UTC) - started).total_seconds():.0f}"
    return ""


def _day_of(run: dict[str, Any]) -> str:
    conf = run.get("conf") or {}
    day = conf.get("day") or str(run.get("logical_date") or "")[:10]
    return f"{conf.get('source', '')} {day}".strip()


def _page(s: Settings, run_id: str) -> str:
    return f"{s.airflow_address}/dags/{DAG}/runs/{run_id}"
