"""Declares the Arrow schemas of the feature tables: those in the lake, from which Feast's views are made."""

from __future__ import annotations

import pyarrow as pa

from contracts.events import TIMESTAMP

#: Length of a text vector.
TEXT_DIMENSIONS = 384

#: `event_timestamp` is the end of the day: from then on the row is known. `created` equals it, so that the same
#: events give the same bytes whenever the table is built.
TIMES = [
    pa.field("event_timestamp", TIMESTAMP, nullable=False),
    pa.field("created", TIMESTAMP, nullable=False),
]

SHOPPER_ACTIVITY = pa.schema(
    [
        pa.field("user_id", pa.string(), nullable=False),
        *(
            pa.field(name, pa.int64(), nullable=False)
            for name in (
                "views_1d", "views_7d", "views_30d",
                "carts_7d", "carts_30d",
                "purchases_7d", "purchases_30d",
                "searches_7d", "active_days_30d",
            )
        ),
        pa.field("hours_since_last", pa.float64(), nullable=False),
        *TIMES,
    ]
)  # fmt: skip

SHOPPER_AFFINITY = pa.schema(
    [
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("categories", pa.list_(pa.string()), nullable=False),
        pa.field("weights", pa.list_(pa.float32()), nullable=False),
        *TIMES,
    ]
)

SHOPPER_SEQUENCE = pa.schema(
    [
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("items", pa.list_(pa.string()), nullable=False),
        pa.field("kinds", pa.list_(pa.string()), nullable=False),
        pa.field("times", pa.list_(pa.int64()), nullable=False),
        *TIMES,
    ]
)

#: What a shopper bought, and when last. Feast wants every feature name of a service once.
SHOPPER_PURCHASES = pa.schema(
    [
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("purchased", pa.list_(pa.string()), nullable=False),
        pa.field("purchased_at", pa.list_(pa.int64()), nullable=False),
        *TIMES,
    ]
)

ITEM_POPULARITY = pa.schema(
    [
        pa.field("item_id", pa.string(), nullable=False),
        *(
            pa.field(f"{kind}_{days}d", pa.int64(), nullable=False)
            for kind in ("views", "carts", "purchases")
            for days in (1, 7, 28)
        ),
        pa.field("cart_rate_28d", pa.float64(), nullable=False),
        pa.field("purchase_rate_28d", pa.float64(), nullable=False),
        pa.field("score", pa.float64(), nullable=False),
        *TIMES,
    ]
)

ITEM_TEXT = pa.schema(
    [
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("text_hash", pa.string(), nullable=False),
        pa.field("vector", pa.list_(pa.float32()), nullable=False),
        *TIMES,
    ]
)

SCHEMAS: dict[str, pa.Schema] = {
    "shopper_activity": SHOPPER_ACTIVITY,
    "shopper_affinity": SHOPPER_AFFINITY,
    "shopper_sequence": SHOPPER_SEQUENCE,
    "shopper_purchases": SHOPPER_PURCHASES,
    "item_popularity": ITEM_POPULARITY,
    "item_text": ITEM_TEXT,
}


def features(table: str) -> list[str]:
    """Return the feature columns of `table`: all except its key and its two times."""
    return [f.name for f in SCHEMAS[table]][1:-2]
