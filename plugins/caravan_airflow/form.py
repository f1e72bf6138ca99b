"""The form of a nightly run: what a person may choose, typed, so that the UI draws it and Airflow checks it."""

from __future__ import annotations

from airflow.sdk import Param

from caravan_airflow.steps import RECIPES, SOURCE_PATTERN
from contracts.settings import settings


def nightly_params() -> dict[str, Param]:
    """Day, source and recipe, with titles and explanations."""
    return {
        "day": Param(
            None,
            type=["null", "string"],
            format="date",
            title="Day",
            description="The day to process, in UTC: every event before its midnight counts. "
            "Leave it empty for the day of the schedule, which is yesterday when you start the run by hand. "
            "Leave it empty in a backfill: its dates are the days.",
        ),
        "source": Param(
            settings().shop,
            type="string",
            pattern=SOURCE_PATTERN,
            maxLength=41,
            title="Data source",
            description="The shop whose landed events are processed, as named at `caravan ingest`: "
            "small letters, digits and hyphens.",
        ),
        "recipe": Param(
            RECIPES[0],
            type="string",
            enum=list(RECIPES),
            title="Recipe",
            description="How the model is built and trained: `default` takes up to half an hour on two cores, `quick` "
            "a few minutes, `tiny` is for trying the chain out and not for shoppers.",
        ),
    }
