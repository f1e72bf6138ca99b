"""Names why a row or a record was set aside, each with what it means and, where a value was, one that would do.

The names are at rest in quarantines and manifests, and in the verdicts of `POST /events`.
"""

from __future__ import annotations

from typing import Final

from contracts.events import KINDS

#: Why a record did not become a row of any table.
LINE_REASONS: Final[dict[str, str]] = {
    "not_utf8": "the line is not UTF-8",
    "unparseable_line": "the line is no record: a stray quote, cut off, not JSON",
    "wrong_column_count": "the line has more or fewer values than the header",
    "not_an_object": "the JSON line is not an object",
    "nested_value": "a value is a list or an object, or `attributes` are nested too deep",
    "repeated_header": "the line says the header once more",
    "empty_session": "a session of a public data set without a single event, or with counts that cannot be",
}


def _identifier(column: str, example: str) -> str:
    return (
        f"`{column}` is longer than 128 characters, holds control characters, or may have been rounded or shortened "
        f'(7.5, 1E+12); as text it is safe: `"{example}"`'
    )


_ITEM: Final = {"bad_item_id": _identifier("item_id", "00120"), "missing_item_id": "`item_id` is empty"}

EVENT_REASONS: Final[dict[str, str]] = {
    **LINE_REASONS,
    "bad_event_time": "`event_time` is no time that means one instant for sure; `2026-11-25T10:00:00Z` does",
    "missing_event_time": "`event_time` is empty",
    "event_time_in_future": "`event_time` is later than the clock at landing (five minutes are allowed)",
    "event_time_too_old": "`event_time` is before 1990",
    "event_time_too_late": "it came over HTTP and is older than `CARAVAN_EVENT_DAYS`; files may bring it",
    "bad_event_id": _identifier("event_id", "e-1"),
    "missing_event_id": "`event_id` is empty",
    "bad_user_id": _identifier("user_id", "007"),
    "missing_user_id": "`user_id` is empty",
    "nobody": "`user_id` is nobody's: what programs write where no one is signed in, or it did more than a person can",
    "not_pseudonymous": "an engine's event log holds an identifier that is not hashed",
    "bad_session_id": _identifier("session_id", "s-1"),
    "bad_kind": "`kind` is not text",
    "unknown_kind": "`kind` is empty or none of " + ", ".join(f"`{k}`" for k in KINDS),
    "bad_item_id": _ITEM["bad_item_id"],
    "missing_item_id": "every kind but `search` needs an `item_id`",
    "bad_query": "`query` is longer than 256 characters, holds control characters, or is no text",
    "missing_query": "a `search` needs a `query`",
    "bad_position": "`position` is not a whole number from 0 to 100,000, such as `3`",
    "bad_value": "`value` is not a number from 0 to 1,000,000,000, such as `9.50`",
    "duplicate_event_id": "another row of the day has this `event_id`; the earliest one is kept",
}
CATALOG_REASONS: Final[dict[str, str]] = {
    **LINE_REASONS,
    **_ITEM,
    "bad_title": "`title` is longer than 1,000 characters, holds control characters, or is no text",
    "missing_title": "`title` is empty or blank",
    "bad_description": "`description` is longer than 100,000 characters, holds control characters, or is no text",
    "bad_brand": "`brand` is longer than 512 characters, holds control characters, or is no text",
    "bad_category": "`category` is longer than 512 characters, holds control characters, or is no text",
    "bad_price": "`price` is not a number from 0 to 1,000,000,000, such as `9.50`",
    "bad_currency": "`currency` is not three capital letters, such as `EUR`",
    "bad_available": "`available` is neither `true` nor `false`",
    "bad_created_at": "`created_at` is no time that means one instant for sure; `2026-11-25T10:00:00Z` does",
    "bad_attributes": "`attributes` is not a JSON object",
    "duplicate_item_id": "a later row of the file has this `item_id`; the last one is kept",
}
JUDGMENT_REASONS: Final[dict[str, str]] = {
    **LINE_REASONS,
    "bad_query": EVENT_REASONS["bad_query"],
    "missing_query": "`query` is empty",
    **_ITEM,
    "bad_relevance": "`relevance` is not a number from 0 to 1,000,000,000, such as `2`",
    "missing_relevance": "`relevance` is empty",
    "duplicate_judgment": "a later row of the file judges the same pair; the last one is kept",
}
#: These say nothing against the day or the file: sending again is normal, and so are guests.
HARMLESS: Final = ("duplicate_event_id", "nobody", "repeated_header")
#: Rows that have a time, though none that a day's partition could hold yet: they are not lost.
FOR_LATER: Final = ("event_time_in_future",)


def describe(reason: str) -> str:
    """Return the name of an event's reason and what it means, as one line."""
    return f"{reason}: {EVENT_REASONS[reason]}"
