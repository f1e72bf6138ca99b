"""Defines the forms of runs: what a person may choose, typed, so that the UI draws it and Airflow checks it."""

from __future__ import annotations

from airflow.sdk import Param

from caravan_airflow.step import RECIPES, ROLLOUTS
from contracts.recovery import Fault
from contracts.release import DIGEST
from contracts.settings import SOURCE_NAME, settings

#: What the command takes, roughly: `Point.parse` decides, and says what is wrong.
RECOVERY_POINT = (
    r"^\s*(newest|s?[0-9]{1,8}|[0-9]{4}-?[0-9]{2}-?[0-9]{2}"
    r"([Tt ][0-9:.,]{4,18} ?(Z|z|UTC|GMT|[+-][0-9:]{2,5})?)?)\s*$"
)


def nightly_params() -> dict[str, Param]:
    """Return day, source, recipe and rollout, with titles and explanations."""
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
        "source": _source(
            "The shop whose landed events are processed, as named at `caravan ingest`: "
            "small letters, digits and hyphens."
        ),
        "recipe": Param(
            RECIPES[0],
            type="string",
            enum=list(RECIPES),
            title="Recipe",
            description="How the model is built and trained: `default` takes up to half an hour on two cores, `quick` "
            "a few minutes, `tiny` is for trying the chain out and not for shoppers.",
        ),
        "rollout": Param(
            settings().canary_policy,
            type="string",
            enum=list(ROLLOUTS),
            title="Rollout",
            description="How the release is judged once it is approved: `default` by the "
            "shop's own traffic, which takes days; `demo` by small, hurried steps, to show how it works.",
        ),
    }


def release_params() -> dict[str, Param]:
    """Return the source and digest of the release to decide on."""
    return {
        "source": _source("The shop whose release it is, as named at `caravan ingest`."),
        "digest": Param(
            type="string",
            pattern=DIGEST.pattern,
            title="Digest",
            description="The whole digest of the release, 64 hexadecimal digits; `caravan release list` shows it.",
        ),
    }


def recover_params() -> dict[str, Param]:
    """Return the region that takes over, the point to restore to, and the reason."""
    return {
        "region": _region("standby", "The region that takes over; everything in it is replaced."),
        "to": Param(
            "newest",
            type="string",
            pattern=RECOVERY_POINT,
            title="Recovery point",
            description="`newest`: all there is. A snapshot (`s000012`): exactly that. A time, in UTC "
            "(`2026-03-01 02:17`) or with its offset (`2026-03-01 03:17+01:00`): the state at that moment.",
        ),
        "reason": _reason(),
        "although_alive": Param(
            False,
            type="boolean",
            title="Although the other region answers",
            description="Only when it answers and must be replaced all the same. Two different people are asked.",
        ),
        "although_active": Param(
            False,
            type="boolean",
            title="Although this region is the active one",
            description="Only when the region to restore serves now, and all it took since may be lost.",
        ),
    }


def fail_back_params() -> dict[str, Param]:
    """Return the region that serves again, and the reason."""
    return {"region": _region("primary", "The region that is rebuilt and serves again."), "reason": _reason()}


def back_up_params() -> dict[str, Param]:
    """Return the options of a snapshot."""
    return {
        "full": Param(
            False,
            type="boolean",
            title="In full",
            description="A full base backup; every byte that is in the vault is read, and what is damaged there goes "
            "over again. The first snapshot of a day is always one.",
        ),
    }


def rehearsal_params() -> dict[str, Param]:
    """Ask what is broken before the restore, and how much is compared."""
    return {
        "fault": Param(
            Fault.NOTHING.value,
            type="string",
            enum=[fault.value for fault in Fault],
            title="Fault",
            description="`nothing`: the active region as if it were lost. `newest-overwritten`: the newest snapshot's "
            "manifest is written over by its writer. `newest-corrupt`: it is none, in any version; an older one must "
            "do. `slow-store`: what is restored from answers late. The others stop services of the active region until "
            "the rehearsal is over. While `edge-cut-off` and `region-down` last, **no shopper gets an answer**.",
        ),
        "questions": Param(
            200, type="integer", minimum=1, maximum=10000, title="Questions", description="How many are compared."
        ),
    }


def _source(description: str) -> Param:
    return Param(
        settings().shop,
        type="string",
        pattern=SOURCE_NAME.pattern,
        maxLength=41,
        title="Data source",
        description=description,
    )


def _region(default: str, description: str) -> Param:
    return Param(default, type="string", enum=["standby", "primary"], title="Region", description=description)


def _reason() -> Param:
    return Param(
        type="string",
        pattern=r"^[^\x00-\x1f]{3,500}$",
        title="Reason",
        description="Why, in a few words; it is kept with your name.",
    )
