"""Makes the environment of the stack's programs: settings as variables, and nothing that leads them elsewhere."""

from __future__ import annotations

import os
import re
from pathlib import Path

from artifacts.registry import ALLOW_PICKLE
from contracts.settings import Settings

#: Every process of a stack carries this variable; its value is the stack's home.
MARKER = "CARAVAN_STACK"
REPOSITORY = Path(__file__).resolve().parents[3]

_OTHERS_BUSINESS = re.compile(
    r"_?(AIRFLOW|MLFLOW|AWS|PG|FEAST|SUPERVISOR|PYTEST|COV|CARAVAN|TORCHELASTIC)[A-Z_]*|PYTHONPATH|VIRTUAL_ENV|[a-z]+_proxy",
    re.IGNORECASE,
)
_DERIVED = {"home", "region"}


def base(s: Settings) -> dict[str, str]:
    """Return what every program inherits: the caller's environment, without other tools' settings."""
    inherited = {name: value for name, value in os.environ.items() if not _OTHERS_BUSINESS.fullmatch(name)}
    # a proxy must not stand between services on loopback, and none of them has business elsewhere
    return {
        **inherited, MARKER: str(s.home), "PYTHONUNBUFFERED": "1", "DO_NOT_TRACK": "1",
        # a pickle in MLflow's artifacts is code of whoever put it there; the image says the same (Dockerfile)
        ALLOW_PICKLE: "false",
    }  # fmt: skip


def of_settings(s: Settings) -> dict[str, str]:
    """Return `s` as CARAVAN_ variables. Secrets stay in their files, except those that only the environment holds."""
    variables = {"CARAVAN_HOME": str(s.home), "CARAVAN_REGION": s.region, "PYTHONPATH": str(REPOSITORY)}
    for name, field in type(s).model_fields.items():
        value = getattr(s, name)
        if name in _DERIVED or value == field.default:
            continue
        variable = f"CARAVAN_{name.upper()}"
        if not hasattr(value, "get_secret_value"):
            variables[variable] = str(value)
        elif variable in os.environ:
            variables[variable] = os.environ[variable]
    if "CARAVAN_SECRETS_DIR" in os.environ:
        variables["CARAVAN_SECRETS_DIR"] = str(Path(os.environ["CARAVAN_SECRETS_DIR"]).expanduser().resolve())
    return variables
