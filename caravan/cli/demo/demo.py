"""`caravan demo`: two nights of a generated shop, the rollout of a release, and what shoppers see.

It may be interrupted anywhere and run again, at once or on another day: every stage first looks at what is there.
"""

from __future__ import annotations

import os
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from contracts.errors import DataError, ReleaseError, StackError
from contracts.exit_codes import REFUSED
from contracts.settings import API_PAGE, Settings, settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from artifacts.ledger import Ledger
    from caravan.cli.demo.generated_shop import DemoHome, DemoShop
    from caravan.cli.demo.two_nights import Nights
    from ingestion.sources.shop import MadeShop

#: How old features may be in a demo of a day that is long over.
PAST = timedelta(days=20_000)
#: Days of the shop that are replayed.
REPLAYED = 7


def demo(
    shoppers: Annotated[int, typer.Option(min=50, help="Shoppers of the generated shop on its first day.")] = 1_500,
    items: Annotated[int, typer.Option(min=50, help="Items of the generated shop on its first day.")] = 800,
    days: Annotated[int, typer.Option(min=5, max=365, help="Days of events.")] = 14,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="The same seed gives the same shop.")] = 7,
    end: Annotated[str | None, typer.Option(help="The shop's last day, YYYY-MM-DD; default: yesterday (UTC).")] = None,
) -> None:
    """Two nights of a generated shop through Airflow; the second one's release is approved, canaried and judged.

    On another day the same shop goes on. A shop of another size or seed gets a home of its own.
    """
    from rich.console import Console

    from caravan.cli.demo.generated_shop import DemoShop, last_day

    console, began, home = Console(), time.monotonic(), settings().home
    # once: the clock may pass midnight meanwhile
    wanted = DemoShop.new(settings().shop, seed=seed, shoppers=shoppers, items=items, days=days, end=last_day(end))

    def heading(text: str) -> None:
        console.rule(f"[bold]{text}[/]  [dim]{time.monotonic() - began:.0f} s[/]", align="left")

    try:
        place, refused = _run(console, heading, wanted)
    except KeyboardInterrupt:
        there = settings()
        own = f"CARAVAN_HOME={there.home} CARAVAN_PORT_OFFSET={there.port_offset} " if there.home != home else ""
        console.print("\ninterrupted: `caravan demo` with the same options goes on from here;", soft_wrap=True)
        console.print(f"`{own}caravan down` stops everything", soft_wrap=True, highlight=False)
        raise typer.Exit(130) from None
    down = f"{place.variables} caravan down" if place.own else "caravan down"
    console.print(f"\ndone in {(time.monotonic() - began) / 60:.1f} minutes; stop with `{down}`", soft_wrap=True)
    if refused:
        raise typer.Exit(REFUSED)


def _run(console: Any, heading: Callable[[str], None], wanted: DemoShop) -> tuple[DemoHome, bool]:
    """Go through all stages; return the shop's home, and whether its second night's release was refused."""
    from artifacts.ledger import Ledger
    from caravan.cli.airflow_api import Airflow
    from caravan.cli.demo import generated_shop, rollout, sample_answers
    from caravan.cli.demo.two_nights import Nights
    from caravan.cli.release import release
    from recovery.file_lock import hold

    heading("1 of 5  start the stack")
    place = _start(console, wanted)
    s, shop = settings(), place.shop
    with hold(place.home / "demo" / "lock", _another_demo):
        heading(f"2 of 5  a shop of {shop.shoppers:,} shoppers and {shop.items:,} items, {shop.opening} to {shop.end}")
        airflow = Airflow.of(s, patience=rollout.SILENCE_LIMIT_S)
        airflow.ensure_ready("nightly")
        nights = Nights(airflow, s, lambda text: console.print(text, soft_wrap=True, highlight=False))
        if generated_shop.kept(place.home) is None:
            nights.let_the_schedule_pass()
        generated_shop.keep(place)
        made = generated_shop.made(place)
        _land(console, s, made)

        refused = _release_of(console, heading, s, shop, nights, Ledger.of(s), made)
        airflow.close()
        heading("5 of 5  what a shopper sees, and what the ledger says")
        champion = Ledger.of(s).champion(s.shop)
        sample_answers.show(console, s, made, champion.digest if champion else "")
        console.print()
        release.history(source=s.shop)
        _show_addresses(console, s)
        for day in nights.stopped:
            console.print(f"the schedule's night of {day} was stopped: `caravan nightly --day {day}` runs it")
        if place.own:
            console.print(f"This shop has a home of its own: {place.variables}", soft_wrap=True, highlight=False)
    return place, refused


def _start(console: Any, wanted: DemoShop) -> DemoHome:
    """Bring up the stack of the home that has this shop, or may have it; this process works there from now on."""
    from caravan.cli import stack
    from caravan.cli.demo import generated_shop

    def taken(s: Settings) -> bool:
        if not (s.home / "regions" / s.region).is_dir():
            return False
        stack.up(region=None, control=True)
        settings.cache_clear()  # the secrets exist now
        return generated_shop.has_another_shop(settings())

    if wanted.end < datetime.now(UTC).date() - timedelta(days=1):
        # Its shoppers have been away for as long: by the real clock whoever has not come back yet would be stale, and
        # the canary's judge, which counts that as harm, would send a good release back by who happened to come first.
        os.environ.setdefault("CARAVAN_FEATURE_AGE_LIMIT", str(PAST.total_seconds()))
        settings.cache_clear()
    s = settings()
    place = generated_shop.place_of(s, wanted, taken=taken, usable=generated_shop.can_listen)
    if place.own:
        here = generated_shop.kept(s.home)
        console.print(
            f"{s.home} has another shop ({here or s.shop}), and a region serves one: this demo gets its own home.\n"
            f"    export {place.variables}\nlets every command speak to it.",
            soft_wrap=True, highlight=False,
        )  # fmt: skip
    place.enter()
    stack.up(region=None, control=True)
    settings.cache_clear()  # the secrets exist now
    return replace(place, home=settings().home)


def _another_demo(holder: str) -> None:
    raise StackError(
        f"another `caravan demo` works on this shop ({holder})", remedy="wait until it is done, or stop it with Ctrl-C"
    )


def _land(console: Any, s: Settings, made: MadeShop) -> None:
    from artifacts.lake import Lake
    from ingestion.landing.land import land
    from ingestion.pseudonymize import Pseudonymizer

    key = Pseudonymizer(s.secret("pseudonym_key"))
    landed = land(
        Lake.of(s, s.shop), made.events, made.catalog, made.judgments,
        pseudonymizer=key, replace="confirmed",
    )  # fmt: skip
    if landed.refused:
        raise DataError(f"the shop could not land: {landed.refused[0].reason}", remedy="run `caravan demo` again")
    console.print(f"{landed.read:,} rows read, {landed.kept:,} kept, {sum(landed.quarantined.values()):,} quarantined")


def _release_of(
    console: Any, heading: Callable[[str], None], s: Settings, shop: DemoShop, nights: Nights, ledger: Ledger,
    made: MadeShop,
) -> bool:  # fmt: skip
    """Run the two nights and the rollout of the second release; True when that one was refused and the first serves."""
    from caravan.cli.demo import rollout

    serving = _serving(s, ledger)
    if serving is None:
        heading(f"3 of 5  the nightly chain for {shop.before}, in Airflow: the first release serves at once")
        nights.run(shop.before)
        serving = _serving(s, ledger)
    else:
        heading("3 of 5  the first night")
        console.print(f"not needed: a release of {serving} serves already")
    heading(f"4 of 5  the nightly chain for {shop.end}: its release is asked about, and meets shoppers step by step")
    end = shop.end.isoformat()
    if serving is not None and serving >= end:
        if serving > end:
            raise ReleaseError(
                f"a release of {serving} serves, and people are not asked about one of an earlier day ({end})",
                remedy=f"`caravan demo --end {serving}`, or later",
            )
        console.print(f"done before: a release of {serving} serves all shoppers")
        return False
    try:
        digest = rollout.left(s, ledger, end, lambda found: _day_of(s, found))
        if digest is not None:
            console.print(f"the night is over: its release {digest[:12]} is {ledger.state(s.shop, digest)}")
        else:
            digest = nights.run(shop.end)
    except typer.Exit as ended:
        if ended.exit_code != REFUSED or serving is None:
            raise
        digest = None
    if digest is None and serving is None:
        raise ReleaseError(
            "no release of this shop passed the gate: nothing serves, so there is nothing to show",
            remedy="show a larger shop or another one: `caravan demo --shoppers 3000`, `caravan demo --seed N`",
        )
    if digest is None:
        console.print(
            f"The second night's release did not pass the gate, for the reason above: that is what a gate is for. The "
            f"release of {serving} goes on serving, and no shopper noticed. Another shop: `caravan demo --seed N`."
        )
        return True
    rollout.release(console, s, digest, made.events[-REPLAYED:])
    return False


def _serving(s: Settings, ledger: Ledger) -> str | None:
    """Return the day of the shop's champion."""
    champion = ledger.champion(s.shop)
    return _day_of(s, champion.digest) if champion else None


def _day_of(s: Settings, digest: str) -> str:
    from artifacts.object_store import ObjectStore
    from artifacts.publish import read_manifest

    return str(read_manifest(ObjectStore.of(s), digest).meta["day"])


def addresses(s: Settings) -> list[tuple[str, str]]:
    """Return the pages to open after a demo: what each is, and its address."""
    from artifacts.registry import mlflow_page

    return [
        ("Airflow", f"{s.airflow_address}/dags/nightly"),
        ("MLflow", mlflow_page(s, "experiments")),
        ("The shop's API", f"{s.airflow_address}/plugin/{API_PAGE}"),
    ]


def _show_addresses(console: Any, s: Settings) -> None:
    """Print plain lines, never cut: they are there to be copied."""
    secrets = s.home / "secrets"
    doors = {
        "Airflow": f"user admin, password in {secrets / 'airflow_admin_password'}",
        "MLflow": f"user {s.mlflow_username}, password in {secrets / 'caravan_mlflow_password'}",
        "The shop's API": f"user admin; it answers at {s.edge_address} to the key in {secrets / f'shop_key_{s.shop}'}",
    }
    for name, address in addresses(s):
        console.print(f"{name:<15} {address}", soft_wrap=True, highlight=False)
        console.print(f"{'':<15} {doors[name]}", soft_wrap=True, highlight=False)
