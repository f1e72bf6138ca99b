"""Defines one shopper event and one product as they travel: the contract of docs/data-contract.md.

`EVENTS` and its siblings are the Arrow schemas of what is in the lake, pseudonymous, in microseconds UTC. The limits
hold at every door; `ingestion.rules` judges by them.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal, get_args

import pyarrow as pa
from pydantic import StringConstraints

Kind = Literal["search", "impression", "view", "click", "add_to_cart", "purchase"]
KINDS: tuple[Kind, ...] = get_args(Kind)
#: Kinds in which the shopper chose an item; the recent sequence and training targets are made of these.
INTERACTIONS: tuple[Kind, ...] = ("view", "click", "add_to_cart", "purchase")

MAX_ID = 128
MAX_QUERY = 256
MAX_POSITION = 100_000
MAX_VALUE = 1e9
#: An event dated before is from a clock that was never set.
EARLIEST = datetime(1990, 1, 1, tzinfo=UTC)
#: How far ahead of our own clock a shop's clock may run: an event dated later than that is refused.
CLOCK_SKEW = timedelta(minutes=5)

Identifier = Annotated[str, StringConstraints(min_length=1, max_length=MAX_ID, pattern=r"^[^\x00-\x1f\x7f]+$")]

TIMESTAMP = pa.timestamp("us", tz="UTC")

EVENTS = pa.schema(
    [
        pa.field("event_id", pa.string(), nullable=False),
        pa.field("event_time", TIMESTAMP, nullable=False),
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("session_id", pa.string()),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("item_id", pa.string()),
        pa.field("query", pa.string()),
        pa.field("position", pa.int32()),
        pa.field("value", pa.float64()),
    ]
)
EVENTS_REQUIRED = ("event_id", "event_time", "user_id", "kind")

CATALOG = pa.schema(
    [
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("title", pa.string(), nullable=False),
        pa.field("description", pa.string()),
        pa.field("brand", pa.string()),
        pa.field("category", pa.string()),
        pa.field("price", pa.float64()),
        pa.field("currency", pa.string()),
        pa.field("available", pa.bool_(), nullable=False),
        pa.field("created_at", TIMESTAMP),
        pa.field("attributes", pa.string()),
    ]
)
CATALOG_REQUIRED = ("item_id", "title")

JUDGMENTS = pa.schema(
    [
        pa.field("query", pa.string(), nullable=False),
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("relevance", pa.float64(), nullable=False),
    ]
)
