"""Reads what a run was started with, for every DAG that has a form: known names only, and values as commands read them.

Airflow checks each value against its form, and lets unknown names through: a misspelled `Day` would run yesterday. So
names are looked at where a run is asked for (`ui/conf_door.py`), and again by the first task of each DAG, since
Airflow's own command line asks nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from difflib import get_close_matches
from typing import Any

from contracts.dates import read_day
from contracts.errors import SettingsError

#: Parameters by DAG, as the forms have them; tests/dags holds the two against each other.
PARAMETERS: dict[str, tuple[str, ...]] = {
    "nightly": ("day", "source", "recipe", "rollout"),
    "release": ("source", "digest"),
    "recover": ("region", "to", "reason", "although_alive", "although_active"),
    "fail_back": ("region", "reason"),
    "back_up": ("full",),
    "rehearse_recovery": ("fault", "questions"),
}
#: How like a known name an unknown one must be to be taken for a slip of it.
_LIKENESS = 0.5


def demand_known(dag: str, names: Mapping[str, Any]) -> None:
    """Raise SettingsError for a name that is no parameter of `dag`, with the one that was probably meant."""
    known = PARAMETERS[dag]
    for name in names:
        if name not in known:
            like = get_close_matches(str(name).strip().lower(), known, n=1, cutoff=_LIKENESS)
            meant = f"; did you mean {like[0]}?" if like else ""
            raise SettingsError(
                f"no such parameter: {str(name)[:80]}{meant}", remedy=f"the parameters of {dag} are {', '.join(known)}"
            )


def read_conf(dag: str, conf: Mapping[str, Any], *, now: datetime | None = None) -> dict[str, Any]:
    """Return the values of `conf` in the form that Airflow checks and tasks read. Raises CaravanError for what is none.

    What is neither a day nor a recovery point is left to the form's own types.
    """
    demand_known(dag, conf)
    read = {name: value.strip() if isinstance(value, str) else value for name, value in conf.items()}
    for name, reader in _READERS.get(dag, {}).items():
        if name in read:
            read[name] = reader(read[name], now)
    return read


def _day(value: Any, now: datetime | None) -> str | None:
    return None if value in (None, "") else read_day(value, now=now, over=True).isoformat()


def _point(value: Any, now: datetime | None) -> Any:
    from recovery.restore.recovery_point import Point

    return Point.parse(value, now=now).asked if isinstance(value, str) else value


_READERS: dict[str, dict[str, Callable[[Any, datetime | None], Any]]] = {
    "nightly": {"day": _day},
    "recover": {"to": _point},
}
