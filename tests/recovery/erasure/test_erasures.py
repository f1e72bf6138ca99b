"""The list of erasures: outside of snapshots, readable by nobody without the key, and never read short."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from contracts.errors import SettingsError, StoreUnavailable, Tampered
from ingestion.pseudonymize import Pseudonymizer
from recovery.erasure import forget
from recovery.erasure.forget import ErasureReport, _go, subject_of
from recovery.erasure.list_of_erased import AHEAD, Erasure, ErasureList, checked_reason, latest, pseudonym_of
from recovery.erasure.rows import ErasureSubject
from recovery.vault.encryption import Sealer
from tests.fakes import MemoryStore
from tests.recovery.vaults import MemoryVault, SmallRegion, settings

NAME = "u_" + "ab" * 16
AT = datetime(2026, 3, 1, tzinfo=UTC)


def entry(name: str = NAME, days: int = 0) -> Erasure:
    return Erasure(pseudonym=name, at=AT + timedelta(days=days), by="os user test", reason="ticket 7", region="primary")


@pytest.fixture
def sealer() -> Sealer:
    return Sealer.of(settings())


def test_what_was_written_down_is_read_again_and_names_nobody(sealer: Sealer) -> None:
    own, vault = MemoryStore(), MemoryVault()
    listed = ErasureList(sealer, own=own, vault=vault)
    name = listed.add(entry())
    listed.add(entry(days=2))
    assert listed.entries() == [entry(), entry(days=2)]
    assert latest(listed.entries()) == {NAME: AT + timedelta(days=2) + AHEAD}
    assert vault.objects[name] == own.objects[name]
    for data in (*own.objects.values(), *vault.objects.values()):
        assert NAME.encode() not in data
        assert b"ticket" not in data


def test_either_store_brings_the_other_what_it_lacks(sealer: Sealer) -> None:
    own, vault = MemoryStore(), MemoryVault()
    ErasureList(sealer, own=own).add(entry())  # before there was a vault
    ErasureList(sealer, vault=vault).add(entry(days=1))
    assert len(ErasureList(sealer, own=own, vault=vault).entries()) == 2
    assert own.objects.keys() == vault.objects.keys()
    assert len(ErasureList(sealer, vault=vault).entries()) == 2


@pytest.mark.parametrize("damaged", ["own", "vault"])
def test_an_entry_that_is_damaged_in_one_store_is_read_from_the_other(sealer: Sealer, damaged: str) -> None:
    own, vault = MemoryStore(), MemoryVault()
    listed = ErasureList(sealer, own=own, vault=vault)
    name = listed.add(entry())
    if damaged == "own":
        own.objects[name] = b"damaged"
    else:
        vault.rot(name, 40)
    assert listed.entries() == [entry()]


def test_an_entry_that_was_written_over_or_hidden_is_read_in_its_older_version(sealer: Sealer) -> None:
    vault = MemoryVault()
    listed = ErasureList(sealer, vault=vault)
    name = listed.add(entry())
    vault.put(name, b"nothing")
    assert listed.entries() == [entry()]
    vault.objects.clear()  # a delete marker
    assert listed.entries() == [entry()]


def test_a_list_that_can_not_be_read_is_an_error(sealer: Sealer) -> None:
    vault = MemoryVault()
    listed = ErasureList(sealer, vault=vault)
    name = listed.add(entry())
    vault.rot(name, 70)
    with pytest.raises(Tampered):
        listed.entries()
    with pytest.raises(Tampered):
        ErasureList(Sealer.of(settings()), vault=vault).entries()


def test_pruning_leaves_the_list(tmp_path: Path) -> None:
    from recovery.snapshots import retention

    region = SmallRegion(tmp_path)
    region.publish("serving/primary/champion", a="one")
    listed = ErasureList(region.vault.sealer, vault=region.memory)
    listed.add(entry())
    for number in range(5):
        region.snapshot(bytes([65 + number]))
    assert retention.prune(region.s, region.vault, keep=2).snapshots
    assert listed.entries() == [entry()]


@pytest.mark.parametrize(
    ("found", "meant"),
    [
        ({"u_": 3}, False), ({"as it is": 3}, True), ({}, None), ({"u_": 1, "as it is": 1}, "both are found"),
        ({"down": 1}, "cannot be asked"), ({"down": 1, "u_": 2}, False),
    ],
)  # fmt: skip
def test_an_identifier_in_the_shape_of_a_pseudonym_is_looked_for_as_both(
    monkeypatch: pytest.MonkeyPatch, found: dict[str, int], meant: bool | str | None
) -> None:
    def plan(*_: object, hashed: bool, **__: object) -> list[ErasureReport]:
        rows = found.get("as it is" if hashed else "u_", 0)
        unreached = {"online store": "it does not answer"} if "down" in found else {}
        return [ErasureReport(region="primary", found={"events": rows} if rows else {}, left={}, unreached=unreached)]

    monkeypatch.setattr(forget, "plan_erasure", plan)
    like = "u_" + "c6" * 16
    assert forget.is_pseudonym(settings(), ["primary"], "anna") is None
    if isinstance(meant, str):
        with pytest.raises(SettingsError, match=meant):
            forget.is_pseudonym(settings(), ["primary"], like)
    else:
        assert forget.is_pseudonym(settings(), ["primary"], like) is meant


def test_a_shopper_is_named_by_identifier_or_pseudonym() -> None:
    s = settings().model_copy(update={"pseudonym_key": type(settings().signing_key)("a key that only tests know")})
    hashed = Pseudonymizer("a key that only tests know").hash("anna")
    assert pseudonym_of("anna", s) == hashed == pseudonym_of(hashed, s)
    assert pseudonym_of(hashed, s, hashed=False) == Pseudonymizer("a key that only tests know").hash(hashed)
    with pytest.raises(SettingsError):
        pseudonym_of("", s)
    assert subject_of([entry(hashed)], "anna").clear == {"anna": hashed}
    assert subject_of([entry(hashed)], hashed).clear == {}
    assert "anna" not in repr(subject_of([entry(hashed)], "anna"))


def test_a_reason_may_not_name_the_shopper() -> None:
    assert checked_reason("  ticket\n 7 ", "anna@shop.example") == "ticket 7"
    assert checked_reason("a mean reason", "a-1") == "a mean reason"
    for reason in ("Anna@Shop.example asked", "for anna@shop.example"):
        with pytest.raises(SettingsError, match="names the shopper"):
            checked_reason(reason, "anna@shop.example")


class Stubborn:
    """A place with `rows`, of which `stay` do not go, or which does not answer."""

    def __init__(self, name: str, rows: int, stay: int = 0, *, answers: bool = True) -> None:
        self.name, self.rows, self.stay, self.answers = name, rows, stay, answers

    def look(self, whom: ErasureSubject) -> dict[str, int]:
        from collections import Counter

        if not self.answers:
            raise StoreUnavailable("it does not answer", remedy="start it")
        return Counter({self.name: self.rows})

    def erase(self, whom: ErasureSubject) -> None:
        self.rows = self.stay


def go(*places: Stubborn, rounds: int = 3) -> ErasureReport:
    return _go("primary", places, ErasureSubject({NAME: AT}), lambda _p, _w: None, rounds=rounds)  # type: ignore[arg-type]


def test_a_place_that_does_not_answer_stops_no_other_and_is_told() -> None:
    report = go(Stubborn("logs", 3), Stubborn("store", 4, answers=False), Stubborn("cache", 5, stay=2))
    assert report.found == {"logs": 3, "cache": 5}
    assert report.removed == {"logs": 3, "cache": 3}
    assert report.left == {"cache": 2}
    assert report.unreached.keys() == {"store"}
    assert not report.finished
    assert go(Stubborn("logs", 3)).finished


def test_a_look_removes_nothing() -> None:
    place = Stubborn("logs", 3)
    assert go(place, rounds=0).found == {"logs": 3}
    assert place.rows == 3
