"""Brings MLflow's aliases `champion` and `canary` to what the ledger says.

It uses MLflow's REST interface and not its client: a daemon that only sets two words need not hold 300 MB.
"""

from __future__ import annotations

import logging

import httpx

from artifacts.ledger import Ledger
from artifacts.registry import model_name
from contracts.release import IN_FLIGHT
from contracts.settings import Settings

log = logging.getLogger(__name__)

_ALIAS = "/api/2.0/mlflow/registered-models/alias"


def wanted_versions(ledger: Ledger, source: str) -> dict[str, int | None]:
    """Return the version that each alias should have; None for none. A release that was never registered has none."""
    found: dict[str, int | None] = {"champion": None, "canary": None}
    for release in ledger.releases(source, among=("champion", *IN_FLIGHT[1:])):
        versions = [move.version for move in ledger.history(source, release.digest) if move.version is not None]
        if versions:
            found["champion" if release.state == "champion" else "canary"] = versions[-1]
    return found


def reconcile(s: Settings, ledger: Ledger, source: str) -> list[str]:
    """Set and delete what differs; return what was done. Raises httpx.HTTPError if MLflow does not answer."""
    done = []
    sign_in = (s.mlflow_username, s.secret("mlflow_password"))
    with httpx.Client(base_url=s.mlflow_address, auth=sign_in, timeout=10.0, trust_env=False) as client:
        for alias, version in wanted_versions(ledger, source).items():
            about = {"name": model_name(source), "alias": alias}
            answer = client.get(_ALIAS, params=about)
            present = int(answer.json()["model_version"]["version"]) if answer.is_success else None
            if present == version:
                continue
            if version is None:
                client.request("DELETE", _ALIAS, json=about).raise_for_status()
            else:
                client.post(_ALIAS, json={**about, "version": str(version)}).raise_for_status()
            done.append(f"{alias}: version {present or 'none'} -> {version or 'none'}")
    return done
