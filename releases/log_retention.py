"""Removes what the edge and the engines log for the judge of a canary, after some days.

The edge's access log is put aside when its first line is a day old, and Envoy begins a new one. That is done only while
no release is in progress, so that the judge, who reads on in it, never loses a line. The event log is not touched:
shoppers were promised that it is kept.
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


def tidy(s: Settings, *, now: datetime) -> list[str]:
    """Put the access log aside and remove what is too old; return what was done. No release may be in progress."""
    done = []
    oldest = (now - timedelta(days=s.logs_kept_days)).date()
    if (kept := _turn(s, now)) is not None:
        done.append(f"{ACCESS_LOG} is now {kept.name}")
    aside = {path: path.name.removeprefix(f"{ACCESS_LOG}.") for path in _logs(s).glob(f"{ACCESS_LOG}.*")}
    days = {path: path.name for path in s.paths.answer_log.glob("*") if path.is_dir()}
    for path, name in sorted((aside | days).items()):
        day = _day(name)
        if day is not None and day < oldest:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
            done.append(f"{path.name} was older than {s.logs_kept_days} days and is removed")
    return done


def _turn(s: Settings, now: datetime) -> Path | None:
    """Put aside the access log of the last day; None if it is younger or Envoy does not answer."""
    path = _logs(s) / ACCESS_LOG
    began = _first_line(path)
    if began is None or now - began < ACCESS_LOG_TURN:
        return None
    aside = path.with_name(f"{ACCESS_LOG}.{now.date()}")
    if aside.exists():
        return None
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
        return date.fromisoformat(name)
    except ValueError:
        return None
