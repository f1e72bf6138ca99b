"""Defines the Feast objects: entities, feature views, the push source, and one feature service per model.

Feast's command line reads the module-level objects, which belong to the default source; the product defines them
for the source it works on with `define`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import timedelta
from functools import partial
from pathlib import Path

import pyarrow as pa
from feast import Entity, FeatureService, FeatureView, Field, FileSource, PushSource, ValueType  # noqa: TID253
from feast.types import Array, FeastType, Float32, Float64, Int64, String  # noqa: TID253

from contracts.settings import settings
from feature_repo.schemas import SCHEMAS
from feature_repo.staging import staging_folder

#: How far back a point-in-time join looks for the newest value.
LOOK_BACK = timedelta(days=30)

_TYPES: dict[pa.DataType, FeastType] = {
    pa.string(): String,
    pa.int64(): Int64,
    pa.float64(): Float64,
    pa.list_(pa.string()): Array(String),
    pa.list_(pa.int64()): Array(Int64),
    pa.list_(pa.float32()): Array(Float32),
}


@dataclass(frozen=True, kw_only=True)
class Definitions:
    """All Feast objects of one data source."""

    shopper: Entity
    item: Entity
    shopper_actions: PushSource
    shopper_bought: PushSource
    shopper_activity: FeatureView
    shopper_affinity: FeatureView
    shopper_sequence: FeatureView
    shopper_purchases: FeatureView
    item_popularity: FeatureView
    item_text: FeatureView
    recommender: FeatureService
    search: FeatureService

    def objects(self) -> list[object]:
        return [getattr(self, f.name) for f in fields(self)]

    @property
    def views(self) -> list[FeatureView]:
        return [found for found in self.objects() if isinstance(found, FeatureView)]


def define(staging: Path) -> Definitions:
    """Return the objects over the feature tables staged in `staging`/<table>/*.parquet."""
    shopper = Entity(
        name="shopper", join_keys=["user_id"], value_type=ValueType.STRING, description="A shopper, by keyed hash."
    )
    item = Entity(
        name="item", join_keys=["item_id"], value_type=ValueType.STRING, description="A product of the catalog."
    )
    source = partial(_source, staging)
    actions = PushSource(name="shopper_actions", batch_source=source("shopper_sequence"))
    bought = PushSource(name="shopper_bought", batch_source=source("shopper_purchases"))
    sequence = _view("shopper_sequence", shopper, actions, about="The newest actions, oldest first; also pushed.")
    purchases = _view("shopper_purchases", shopper, bought, about="What was ever bought; also pushed.")
    affinity = _view("shopper_affinity", shopper, source("shopper_affinity"), about="The best categories.")
    activity = _view("shopper_activity", shopper, source("shopper_activity"), about="Counts by window, and recency.")
    popularity = _view("item_popularity", item, source("item_popularity"), about="Counts, rates and a score.")
    text = _view(
        "item_text", item, source("item_text"), about="Text vectors; engines have them in the release.", online=False
    )
    return Definitions(
        shopper=shopper,
        item=item,
        shopper_actions=actions,
        shopper_bought=bought,
        shopper_activity=activity,
        shopper_affinity=affinity,
        shopper_sequence=sequence,
        shopper_purchases=purchases,
        item_popularity=popularity,
        item_text=text,
        recommender=FeatureService(
            name="recommender",
            features=[sequence, purchases, affinity, activity],
            description="What recommending reads about a shopper.",
        ),
        search=FeatureService(
            name="search", features=[popularity, text], description="What search knows of an item beside its words."
        ),
    )


def _source(staging: Path, table: str) -> FileSource:
    return FileSource(
        name=f"{table}_table",
        path=str(staging / table / "*.parquet"),
        timestamp_field="event_timestamp",
        created_timestamp_column="created",
    )


def _view(
    table: str, entity: Entity, source: FileSource | PushSource, *, about: str, online: bool = True
) -> FeatureView:
    columns = [f for f in SCHEMAS[table] if f.name not in ("event_timestamp", "created")]
    return FeatureView(
        name=table,
        entities=[entity],
        ttl=LOOK_BACK,
        schema=[Field(name=f.name, dtype=_TYPES[f.type]) for f in columns],
        source=source,
        online=online,
        description=about,
    )


_default = define(staging_folder(settings(), settings().shop))
shopper = _default.shopper
item = _default.item
shopper_actions = _default.shopper_actions
shopper_bought = _default.shopper_bought
shopper_activity = _default.shopper_activity
shopper_affinity = _default.shopper_affinity
shopper_sequence = _default.shopper_sequence
shopper_purchases = _default.shopper_purchases
item_popularity = _default.item_popularity
item_text = _default.item_text
recommender = _default.recommender
search = _default.search
