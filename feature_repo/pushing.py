"""Adds actions to what is online of their shoppers: the recent history, and what was ever bought.

Both are written in one atomic step, and only if both are still what was read, else they are read again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from contracts.errors import FeatureError
from feature_repo import online
from feature_repo.purchases import NOTHING, Purchases, add
from feature_repo.sequences import EMPTY, Action, History, append

_ATTEMPTS = 50
_SEQUENCE, _PURCHASES = "shopper_sequence", "shopper_purchases"
_HISTORY_FIELDS = [online.time_field(_SEQUENCE), *(online.field(_SEQUENCE, name) for name in History._fields)]
_BOUGHT_FIELDS = [online.time_field(_PURCHASES), *(online.field(_PURCHASES, name) for name in Purchases._fields)]
_FIELDS = [*_HISTORY_FIELDS, *_BOUGHT_FIELDS]
_Found = list[bytes | None]


def write_actions(client: Any, project: str, pending: Mapping[str, list[Action]], clock: int) -> int:
    """Add `pending` (shopper to actions); return the number of shoppers that changed. Raises FeatureError."""
    changed = 0
    for _ in range(_ATTEMPTS):
        with client.pipeline(transaction=False) as pipe:
            pipe.script_load(online.IF_UNCHANGED)  # every time: a restarted Redis has forgotten it
            for user in pending:
                pipe.hmget(online.shopper_key(project, user), _FIELDS)
            script, *stored = pipe.execute()
        writing: list[str] = []
        with client.pipeline(transaction=False) as pipe:
            for user, found in zip(pending, stored, strict=True):
                fresh = _changes(user, found, pending[user], clock)
                if not fresh:
                    continue
                expected = [x for pair in zip(_FIELDS, (v or b"" for v in found), strict=True) for x in pair]
                values = [x for pair in fresh.items() for x in pair]
                pipe.evalsha(script, 1, online.shopper_key(project, user), len(_FIELDS), *expected, *values)
                writing.append(user)
            outcomes = pipe.execute()
        changed += sum(bool(done) for done in outcomes)
        pending = {u: pending[u] for u, done in zip(writing, outcomes, strict=True) if not done}
        if not pending:
            return changed
    raise FeatureError(
        f"{len(pending)} shoppers' sequences changed {_ATTEMPTS} times while they were written",
        remedy="too many writers push events of the same shoppers; their events are in the event log",
    )


def _changes(user: str, found: _Found, actions: list[Action], clock: int) -> dict[bytes, bytes]:
    """Return the fields to write, if any."""
    history, purchases = found[: len(_HISTORY_FIELDS)], found[len(_HISTORY_FIELDS) :]
    before = History(*(online.unpack(v) or [] for v in history[1:])) if _whole(history) else EMPTY  # type: ignore[arg-type]
    after = append(user, before, actions)
    fresh: dict[bytes, bytes] = {}
    if after != before:
        values = online.pack_strings(after.items), online.pack_strings(after.kinds), online.pack_integers(after.times)
        at = _next_time(history[0], after.times[-1], clock)
        fresh |= dict(zip(_HISTORY_FIELDS, (at, *values), strict=True))

    owned = Purchases(*(online.unpack(v) or [] for v in purchases[1:])) if _whole(purchases) else NOTHING  # type: ignore[arg-type]
    # the history too: one pushed before purchases were kept apart is about to forget what is in it
    now_owned = add(owned, [*before.actions(), *actions])
    if now_owned != owned:
        # only with a purchase: a time that every view moved on would keep the night's table out
        packed = online.pack_strings(now_owned.purchased), online.pack_integers(now_owned.purchased_at)
        at = _next_time(purchases[0], now_owned.purchased_at[-1], clock)
        fresh |= dict(zip(_BOUGHT_FIELDS, (at, *packed), strict=True))
    return fresh


def _whole(found: _Found) -> bool:
    return all(value is not None for value in found)


def _next_time(stored: bytes | None, newest: int, clock: int) -> bytes:
    """Return a time later than the one replaced, and no later than the clock where that allows it."""
    previous = online.unpack_time(stored) if stored else 0
    return online.pack_time(max(previous + 1, min(newest, clock)))
