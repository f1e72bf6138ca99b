"""Removes what the edge and the engines log for the judge of a canary, after some days.

The edge's access log is put aside when its first line is a day old, or when it is large, and Envoy begins a new one;
while a release is in progress only when it is large: the judge reads the rest of what was put aside first. The event
log is not touched: shoppers were promised that it is kept.
"""

from __future__ import annotations

import logging
import shutil
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import orjson

from contracts.errors import ServingError
from contracts.region_paths import ACCESS_LOG
from contracts.settings import Settings
from serving.edge import admin

log = logging.getLogger(__name__)

#: An access log is put aside after this time.
ACCESS_LOG_TURN = timedelta(days=1)


def tidy(s: Settings, *, now: datetime, busy: bool = False) -> list[str]:
    """Put the access log aside and remove what is too old or too much; return what was done.

    While a release is in progress (`busy`), nothing of the last two days is removed.
    """
    done = []
    if (kept := _turn(s, now, busy=busy)) is not None:
        done.append(f"{ACCESS_LOG} is now {kept.name}")
    aside = {path: path.name.removeprefix(f"{ACCESS_LOG}.") for path in _logs(s).glob(f"{ACCESS_LOG}.*")}
    kinds = [aside, *({p: p.name for p in log.glob("*") if p.is_dir()} for log in _by_day(s))]
    for paths in kinds:
        left = sum(_size(path) for path in paths)
        for path, name in sorted(paths.items(), key=lambda one: (one[1][:10], _written(one[0]))):
            day = _day(name)
            if day is None or (busy and day >= (now - timedelta(days=1)).date()):
                continue
            if day < (now - timedelta(days=s.logs_kept_days)).date():
                why = f"was older than {s.logs_kept_days} days"
            elif left > s.logs_mb << 20 and day < now.date() + timedelta(days=path.is_file()):
                why = f"is removed for logs of more than {s.logs_mb} MB"
            else:
                continue
            left -= _size(path)
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
            done.append(f"{path.name} {why}" + (" and is removed" if why.startswith("was") else ""))
    return done


def _by_day(s: Settings) -> tuple[Path, ...]:
    """Return the logs that have a folder for each day, of which old ones may go."""
    return s.paths.answer_log, s.paths.impression_log


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def _written(path: Path) -> float:
    return path.stat().st_mtime if path.exists() else 0.0


def _turn(s: Settings, now: datetime, *, busy: bool) -> Path | None:
    """Put aside the access log of the last day, or a large one; None if there is none or Envoy does not answer."""
    path = _logs(s) / ACCESS_LOG
    began = _first_line(path)
    if began is None:
        return None
    large = path.stat().st_size > s.access_log_mb << 20
    if not large and (busy or now - began < ACCESS_LOG_TURN):
        return None
    taken, number = {aside.name for aside in _logs(s).glob(f"{ACCESS_LOG}.*")}, 0
    while (name := f"{ACCESS_LOG}.{now.date()}" + (f".{number}" if number else "")) in taken:
        number += 1
    aside = path.with_name(name)
    path.rename(aside)
    try:
        admin.ask(admin.region_socket(s), "/reopen_logs", "POST", timeout=5.0)
    except ServingError as error:
        log.warning("Envoy did not begin a new access log: %s", error)
        with suppress(FileExistsError):
            aside.rename(path)
        return None
    return aside


def _first_line(path: Path) -> datetime | None:
    try:
        with path.open("rb") as file:
            return datetime.fromisoformat(orjson.loads(file.readline())["time"]).astimezone(UTC)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _logs(s: Settings) -> Path:
    return s.paths.logs


def _day(name: str) -> date | None:
    try:
        return date.fromisoformat(name[:10])
    except ValueError:
        return None
