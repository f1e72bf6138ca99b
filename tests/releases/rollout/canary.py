"""Brings a release before its first shoppers, and lets them meet it."""

from __future__ import annotations

from artifacts.ledger import Ledger
from contracts.errors import StoreUnavailable
from releases.rollout.controller import Controller
from tests.releases.fake_region import FolderRegion, approved

A, B, C = "a" * 64, "b" * 64, "c" * 64


def ticks(controller: Controller, count: int = 3) -> None:
    for _ in range(count):
        controller.tick()


def to_canary(controller: Controller, ledger: Ledger, region: FolderRegion, digest: str = B) -> None:
    """Bring a release in front of its first shoppers."""
    approved(ledger, "shop", digest)
    ticks(controller, 2)
    assert ledger.state("shop", digest) == "shadow"
    region.asked_in_the_shadow(A, digest)
    ticks(controller, 1)
    assert ledger.state("shop", digest) == "canary_1"
    ticks(controller, 1)


def meet(region: FolderRegion, count: int, first: int = 0, digest: str = B, **canary: object) -> None:
    region.met("control", A, count, first=first)
    region.met("canary", digest, count, first=first, **canary)  # type: ignore[arg-type]
    region.clock.forward(2)  # what is younger than a second may still change


def gone(*_: object, **__: object) -> None:
    raise StoreUnavailable("the region's database does not answer", remedy="wait")
