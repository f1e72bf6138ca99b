"""Chooses the home of the shop that a demo shows: the one that has this shop, a new one, or one of its own.

A region serves one shop. So the demo remembers in `<home>/demo/shop.json` which shop its home has. The same demo on a
later day lets that shop go on; another one gets a home below `<home>/demo/homes`, with ports of its own.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from artifacts.files import atomic_write
from contracts.dates import read_day
from contracts.errors import DataError, PortTaken, SettingsError
from contracts.region import ControlPorts, RegionPorts
from contracts.settings import Settings, read_settings, settings

if TYPE_CHECKING:
    from ingestion.sources.shop import MadeShop
    from ingestion.sources.shop_world import ShopPlan

FILE = Path("demo") / "shop.json"
HOMES = Path("demo") / "homes"
#: A shop goes on after so many days without a demo; later it would be another one.
LONGEST_PAUSE = timedelta(days=40)
#: Days before this one are no time of an event.
_FIRST = date(1990, 1, 1)


@dataclass(frozen=True, kw_only=True)
class DemoShop:
    """A generated shop: its name in the lake, its sizes, its first day, and the last day so far."""

    source: str
    seed: int
    shoppers: int
    items: int
    days: int
    opening: date
    end: date

    @classmethod
    def new(cls, source: str, *, seed: int, shoppers: int, items: int, days: int, end: date) -> DemoShop:
        opening = end - timedelta(days=days - 1)
        return cls(
            source=source, seed=seed, shoppers=shoppers, items=items, days=days, opening=opening, end=end
        )  # fmt: skip

    @property
    def name(self) -> str:
        return f"{self.source}-{self.seed}-{self.shoppers}-{self.items}-{self.days}"

    @property
    def before(self) -> date:
        """The day before the last: that of the first night."""
        return self.end - timedelta(days=1)

    @property
    def plan(self) -> ShopPlan:
        """Return the plan from the opening on, so that the days that were there before have the same bytes."""
        from ingestion.sources.shop_world import ShopPlan

        return ShopPlan(
            days=(self.end - self.opening).days + 1, shoppers=self.shoppers, items=self.items, seed=self.seed,
            end=self.end, opening=self.opening,
        )  # fmt: skip

    def __str__(self) -> str:
        return (
            f"{self.source}, seed {self.seed}, {self.shoppers:,} shoppers and {self.items:,} items on {self.opening}, "
            f"up to {self.end}"
        )

    def continued(self, wanted: DemoShop) -> DemoShop | None:
        """Continue this shop up to the day that is wanted; None when that would be another shop."""
        if self.name != wanted.name or not self.end <= wanted.end <= self.end + LONGEST_PAUSE:
            return None
        return DemoShop(**{**asdict(self), "end": wanted.end})


@dataclass(frozen=True, kw_only=True)
class DemoHome:
    """The home of the demo's shop. `own`: beside another shop, in a home that only this demo knows."""

    home: Path
    port_offset: int
    shop: DemoShop
    own: bool = False

    @property
    def variables(self) -> str:
        """Return the variables that make every command use this home."""
        return f"CARAVAN_HOME={self.home} CARAVAN_PORT_OFFSET={self.port_offset}"

    def enter(self) -> None:
        """Let this process, and the stack that it starts, work in this home."""
        if self.own:
            os.environ["CARAVAN_HOME"], os.environ["CARAVAN_PORT_OFFSET"] = str(self.home), str(self.port_offset)
        settings.cache_clear()


def last_day(text: str | None, *, now: datetime | None = None) -> date:
    """Return the day that `--end` names, or yesterday. Raises SettingsError for what is no day, or not over yet."""
    yesterday = (now or datetime.now(UTC)).date() - timedelta(days=1)
    if text is None:
        return yesterday
    try:
        day = read_day(text, now=now, over=True)
    except SettingsError as error:
        raise SettingsError(error.what, remedy=f"{error.remedy}, as in --end {yesterday}") from None
    if day < _FIRST + timedelta(days=366):
        raise SettingsError(f"{day} is too long ago for a shop", remedy=f"--end {_FIRST.year + 2}-01-01, or later")
    return day


def kept(home: Path) -> DemoShop | None:
    """Return the shop that the demo made in this home, or None."""
    try:
        about = json.loads((home / FILE).read_text())
        return DemoShop(
            source=str(about["source"]), seed=int(about["seed"]), shoppers=int(about["shoppers"]),
            items=int(about["items"]), days=int(about["days"]), opening=date.fromisoformat(about["opening"]),
            end=date.fromisoformat(about["end"]),
        )  # fmt: skip
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{home / FILE} cannot be read ({type(error).__name__}): which shop lives here is not known",
            remedy="set CARAVAN_HOME to another folder, or start again with `make clean`",
        ) from None


def keep(place: DemoHome) -> None:
    """Remember the shop of this home, before anything of it lands."""
    path = place.home / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    about = {
        name: value.isoformat() if isinstance(value, date) else value for name, value in asdict(place.shop).items()
    }
    atomic_write(path, json.dumps({**about, "port_offset": place.port_offset}, indent=1))


def place_of(
    s: Settings, wanted: DemoShop, *, taken: Callable[[Settings], bool], usable: Callable[[Path, int], bool]
) -> DemoHome:
    """Choose the home that shows `wanted`.

    `taken`: whether a home without a demo's shop has another one; `usable`: as `can_listen`. Raises SettingsError.
    """
    here = kept(s.home)
    if here is None and not taken(s):
        return DemoHome(home=s.home, port_offset=s.port_offset, shop=wanted)
    if here is not None and (shop := here.continued(wanted)) is not None:
        return DemoHome(home=s.home, port_offset=s.port_offset, shop=shop)
    for name in (wanted.name, f"{wanted.name}-{wanted.end}"):
        home = s.home / HOMES / name
        there = kept(home)
        if (shop := wanted if there is None else there.continued(wanted)) is not None:
            return DemoHome(home=home, port_offset=_offset(s, home, usable), shop=shop, own=True)
    raise SettingsError(f"the shop in {home} has gone on", remedy="remove that folder, or choose a later --end")


def can_listen(home: Path, offset: int) -> bool:
    """Check whether a stack in this home can have the ports at `offset`: it has them already, or they are free."""
    from caravan.stack.supervision import supervisor
    from caravan.stack.supervision.processes import check_ports

    there = read_settings(home=home, port_offset=offset)
    if supervisor.runs(there):
        return _kept_offset(home) == offset
    try:
        check_ports(there.host, dict.fromkeys(_ports(offset), "a demo"))
    except PortTaken:
        return False
    return True


def has_another_shop(s: Settings) -> bool:
    """Ask the running stack whether something that no demo made has landed for the region's shop, or serves."""
    from artifacts.lake import Lake
    from artifacts.ledger import Ledger

    lake = Lake.of(s, s.shop)
    landed = lake.partitions("landing-events") or lake.partitions("landing-catalog")
    return bool(landed) or Ledger.of(s).newest("champion") is not None


def made(place: DemoHome) -> MadeShop:
    """Write the shop's files, all of them: a run before may have been cut short; the same plan gives the same bytes."""
    from ingestion.sources.shop import generate

    return generate(place.shop.plan, place.home / "demo" / "shop")


def _offset(s: Settings, home: Path, usable: Callable[[Path, int], bool]) -> int:
    """Return the offset that this home had, else the first whose ports are free and not the first home's."""
    before = _kept_offset(home)
    if before is not None and usable(home, before):
        return before
    for offset in range(300, 9001, 300):
        if not _ports(offset) & _ports(s.port_offset) and usable(home, offset):
            return offset
    raise PortTaken("no room for the ports of another stack", remedy="stop one: `caravan down`")


def _kept_offset(home: Path) -> int | None:
    try:
        return int(json.loads((home / FILE).read_text())["port_offset"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _ports(offset: int) -> set[int]:
    groups = (ControlPorts.at(offset), RegionPorts.at("primary", offset), RegionPorts.at("standby", offset))
    return {port for group in groups for port in asdict(group).values()}
