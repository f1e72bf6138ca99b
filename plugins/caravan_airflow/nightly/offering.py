"""Decides whether people are asked about a release that passed the gate, and starts the run that asks them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from artifacts.ledger import Ledger
    from caravan_airflow.step import Run


class Runs(Protocol):
    """Starting a run of `release`; a seam, so that tests may count."""

    def start(self, run: str, conf: dict[str, str], note: str) -> bool: ...


def run_name(source: str, digest: str) -> str:
    """Name the one run of `release` for a digest, however often its day is run."""
    return f"{source}-{digest[:12]}"


def why_not(run: Run, ledger: Ledger, digest: str, day_of: Callable[[str], str], *, shop: str) -> str | None:
    """Say why nobody is asked about this release, or None.

    `day_of` gives the day that a release was made for; `shop` is the setting of the shop that the region serves.
    """
    from releases.served_shop import find_foreign

    if (foreign := find_foreign(ledger, shop, run.source)) is not None:
        return f"{foreign[0]}; {foreign[1]}"
    state = ledger.state(run.source, digest)
    if state != "gated":
        return f"the release is {state} already"
    if run.kind == "backfill":
        return f"a backfill offers nothing; any of its releases may go on with `caravan release approve {digest[:12]}`"
    champion = ledger.champion(run.source)
    if champion is not None and day_of(champion.digest) > run.day:
        return f"the champion {champion.digest[:12]} is of {day_of(champion.digest)}, later than {run.day}"
    return None


def ask_people(runs: Runs, run: Run, digest: str) -> bool:
    """Start the run of `release` that asks about this digest; False when it was started before."""
    conf = {"source": run.source, "digest": digest}
    note = f"{run.source}, {run.day}, recipe {run.recipe}; offered by the nightly chain"
    return runs.start(run_name(run.source, digest), conf, note)
