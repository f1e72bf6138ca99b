"""Compares the columns of a day's files with those of the day before: none may be gone or of another type."""

from __future__ import annotations

from collections.abc import Mapping

from contracts.errors import DataError, SchemaChanged
from ingestion.landing.manifests import LandedDay
from ingestion.validation.survey import DaySurvey

REMEDY = (
    "repair the export and land it with `caravan ingest --replace`, or let the change pass with "
    "`caravan validate {day} --accept-changes`"
)


def accepted_columns(
    found: DaySurvey, parts: Mapping[str, list[LandedDay]], *, accept_changes: bool
) -> dict[str, dict[str, str] | DataError]:
    """Return the columns of each changed day, or why they are refused.

    Each is compared with the last accepted day before it, which may itself be one of them.
    """
    accepted = {d: p.columns for d, p in found.published.items() if p.columns and d not in parts}
    result: dict[str, dict[str, str] | DataError] = {}
    for day in sorted(parts):
        since = max((d for d in accepted if d < day), default=None)
        columns = _columns(parts[day])
        try:
            if columns is None:
                columns = accepted[since] if since else {}
            elif since and not accept_changes:
                _refuse_changes(day, columns, since, accepted[since])
            result[day] = accepted[day] = columns
        except DataError as error:
            result[day] = error
    return result


def _columns(parts: list[LandedDay]) -> dict[str, str] | None:
    """Return what the day's files had, together; engines' logs always have everything and say nothing here."""
    columns: dict[str, str] | None = None
    for part in parts:
        if part.origin == "file":
            columns = columns or {}
            for name, kind in part.families.items():
                columns[name] = kind if columns.get(name, "any") == "any" else columns[name]
    return columns


def _refuse_changes(day: str, columns: dict[str, str], since: str, had: dict[str, str]) -> None:
    lost = sorted(set(had) - set(columns))
    if lost:
        raise SchemaChanged(
            f"{day} has lost the column {', '.join(lost)}, which {since} had", remedy=REMEDY.format(day=day)
        )
    for name in sorted(set(had) & set(columns)):
        if "any" not in (had[name], columns[name]) and had[name] != columns[name]:
            raise SchemaChanged(
                f"the column {name} of {day} is {columns[name]}, on {since} it was {had[name]}",
                remedy=REMEDY.format(day=day),
            )
