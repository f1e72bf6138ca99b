"""Names the steps of a restore and of a failback, and the faults of a rehearsal, for recovery and for its tasks."""

from __future__ import annotations

from enum import StrEnum


class RestoreStep(StrEnum):
    """The steps of a restore, in order."""

    PREFLIGHT = "preflight"
    CHOOSE = "choose"
    KEYS = "keys"
    FENCE = "fence"
    DATABASE = "database"
    ARTIFACTS = "artifacts"
    ERASURES = "erasures"
    REGISTRY = "registry"
    FEATURES = "features"
    ENGINES = "engines"
    PROBE = "probe"
    EDGE = "edge"
    OPEN = "open"


class FailbackStep(StrEnum):
    """The steps that a failback adds to those of a restore."""

    LOOK = "look"
    RECONCILE = "reconcile"
    COPY = "copy"
    DRAIN = "drain"
    LAST_COPY = "last_copy"
    PROTECT = "protect"


RESTORE_STEPS = tuple(step.value for step in RestoreStep)
#: The steps of a failback, in order: its own, those of a restore, and the first snapshot in the other direction.
FAILBACK_STEPS = (
    *(step.value for step in FailbackStep if step is not FailbackStep.PROTECT),
    *RESTORE_STEPS,
    FailbackStep.PROTECT.value,
)


class Fault(StrEnum):
    """What a rehearsal breaks, by the name that a person chooses."""

    NOTHING = "nothing"
    NEWEST_OVERWRITTEN = "newest-overwritten"
    NEWEST_CORRUPT = "newest-corrupt"
    SLOW_STORE = "slow-store"
    DATABASE_DOWN = "database-down"
    OBJECT_STORE_DOWN = "object-store-down"
    EDGE_CUT_OFF = "edge-cut-off"
    REGION_DOWN = "region-down"
