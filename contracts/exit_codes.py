"""Defines what a command's exit code says, and which one each of our errors ends with; one place for all commands.

docs/exit-codes.md shows both tables; a test holds them against each other. Tasks in Airflow follow the same: what is
a FAULT or UNANSWERED is tried again; everything else would only fail again, later.
"""

from __future__ import annotations

from contracts import errors
from contracts.errors import CaravanError

DONE, FAULT, WRONG_CALL, REFUSED, NOTHING, UNANSWERED = range(6)

#: One word for each, as `--json` gives it.
OUTCOMES = {
    DONE: "done", FAULT: "fault", WRONG_CALL: "wrong call", REFUSED: "refused", NOTHING: "nothing",
    UNANSWERED: "unanswered",
}  # fmt: skip

#: An error that is not named here ends as the one above it in the tree.
_CODES: dict[type[CaravanError], int] = {
    CaravanError: FAULT,
    errors.SettingsError: WRONG_CALL,
    errors.StackError: UNANSWERED,
    errors.DataError: REFUSED,
    errors.EmptyPartition: NOTHING,
    errors.NotEnoughData: NOTHING,
    errors.StoreUnavailable: UNANSWERED,
    errors.NotFound: NOTHING,
    errors.Conflict: UNANSWERED,
    errors.Tampered: REFUSED,
    errors.GateRefused: REFUSED,
    errors.RegistryError: UNANSWERED,
    errors.ModelRefused: REFUSED,
    errors.ReleaseError: REFUSED,
    errors.NoRecoveryPoint: NOTHING,
    errors.RestoreRefused: REFUSED,
    errors.ErasureUnfinished: UNANSWERED,
    errors.Fenced: REFUSED,
    errors.ServingError: UNANSWERED,
    errors.ReleaseRefused: REFUSED,
}
#: Of several, the one that people should hear of first.
_WORST_FIRST = (FAULT, UNANSWERED, WRONG_CALL, REFUSED, NOTHING, DONE)


def code_of(kind: type[BaseException]) -> int:
    """Return the exit code of an error of this class; FAULT for one that is not ours."""
    return next((_CODES[above] for above in kind.__mro__ if above in _CODES), FAULT)


def error_class(name: str) -> type[CaravanError]:
    """Return the class of our error tree of this name, with or without its module; CaravanError for any other name."""
    kind = getattr(errors, name.rpartition(".")[2], None)
    return kind if isinstance(kind, type) and issubclass(kind, CaravanError) else CaravanError


def code_of_name(name: str) -> int:
    """Return the exit code of an error by the name of its class, as a task's log has it."""
    return code_of(error_class(name))


def worst(codes: list[int]) -> int:
    """Return the exit code of a command that did several things."""
    return next((code for code in _WORST_FIRST if code in codes), DONE)


def final() -> list[type[CaravanError]]:
    """List the errors that another try would not change."""
    return [kind for kind in tree() if code_of(kind) not in (FAULT, UNANSWERED)]


def tree() -> list[type[CaravanError]]:
    """List every class of the error tree, each after the one above it."""
    found = [CaravanError]
    for kind in found:
        found += kind.__subclasses__()
    return [kind for kind in dict.fromkeys(found) if kind.__module__ == errors.__name__]
