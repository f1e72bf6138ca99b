"""Extends Feast's Redis online store by an atomic write: no writer replaces a newer value by an older one.

Feast's own write reads the stored times, then writes; a push between the two is lost. It also skips a row of equal
time, so that a corrected partition of the same day would never arrive. Layout and reads are Feast's.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal

from feast.infra.online_stores.helpers import _redis_key  # noqa: TID253 - Feast loads this module by its name
from feast.infra.online_stores.redis import RedisOnlineStore, RedisOnlineStoreConfig  # noqa: TID253

from feature_repo.online import NEWEST_WINS, field, pack_time, time_field

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class NewestWinsRedisOnlineStoreConfig(RedisOnlineStoreConfig):
    """As Feast's; only the type differs."""

    type: Literal["feature_repo.online_store.NewestWinsRedisOnlineStore"] = (
        "feature_repo.online_store.NewestWinsRedisOnlineStore"  # type: ignore[assignment]
    )


class NewestWinsRedisOnlineStore(RedisOnlineStore):
    """As Feast's, but a write is one atomic step per row that yields only to a newer event timestamp."""

    def online_write_batch(
        self,
        config: Any,
        table: Any,
        data: list[tuple[Any, dict[str, Any], datetime, datetime | None]],
        progress: Callable[[int], Any] | None,
    ) -> None:
        client = self._get_client(config.online_store)
        script = client.script_load(NEWEST_WINS)
        names = {feature.name: field(table.name, feature.name) for feature in table.features}
        with client.pipeline(transaction=False) as pipe:
            for entity, values, timestamp, _ in data:
                aware = timestamp if timestamp.tzinfo else timestamp.replace(tzinfo=UTC)
                arguments = [time_field(table.name), pack_time(int((aware - _EPOCH).total_seconds() * 1_000_000))]
                for name, value in values.items():
                    arguments += [names[name], value.SerializeToString()]
                key = _redis_key(config.project, entity, config.entity_key_serialization_version)
                pipe.evalsha(script, 1, key, *arguments)
            pipe.execute()
        if progress:
            progress(len(data))
