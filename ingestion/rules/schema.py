"""Defines pandera schemas, one per table: the rules of docs/data-contract.md, each named by the reason it gives.

Every check is one vectorized Arrow expression over a whole column (or a few), so a million rows are checked in
a second. The same schemas say what a clean table is: `failures` finds the rows that are not.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import orjson
import pandera.pandas as pandera
import pyarrow as pa
import pyarrow.compute as pc

from contracts.events import (
    CATALOG,
    CATALOG_REQUIRED,
    EARLIEST,
    EVENTS,
    EVENTS_REQUIRED,
    JUDGMENTS,
    KINDS,
    MAX_ID,
    MAX_POSITION,
    MAX_QUERY,
    MAX_VALUE,
)
from ingestion.formats.columns import Bytes, Column, Mask, bytes_of, holds_any, mask
from ingestion.rules.nobody import somebody
from ingestion.rules.reasons import CATALOG_REASONS, EVENT_REASONS, JUDGMENT_REASONS

MAX_TITLE: Final = 1_000
MAX_TEXT: Final = 100_000
MAX_NAME: Final = 512

Rule = Callable[[Any], Column]


@dataclass(frozen=True, kw_only=True)
class TableSchema:
    """One table of the contract: Arrow types, what must be there, and the pandera schema with its reasons."""

    name: str
    arrow: pa.Schema
    required: tuple[str, ...]
    key: tuple[str, ...]
    #: reason -> what it means, in order of precedence: a row is quarantined under the first that applies
    reasons: dict[str, str]
    rules: dict[str, list[tuple[str, Rule]]]
    across: tuple[tuple[str, Rule], ...] = ()

    def pandera(self) -> pandera.DataFrameSchema:
        """Return the rules as a pandera schema over Arrow-backed columns."""
        import pandas as pd

        columns = {
            field.name: pandera.Column(
                pd.ArrowDtype(field.type),
                [_check(reason, rule, of=field.name) for reason, rule in self.rules.get(field.name, [])],
                nullable=True,
            )
            for field in self.arrow
        }
        return pandera.DataFrameSchema(columns, checks=[_check(r, rule) for r, rule in self.across], strict=True)

    def failures(self, table: pa.Table) -> dict[str, Mask]:
        """Return, by reason, the rows of `table` (in this table's Arrow types) that break that rule."""
        import pandas as pd
        from pandera.errors import SchemaErrors

        if not table.num_rows:
            return {}
        frame = table.to_pandas(types_mapper=pd.ArrowDtype)
        try:
            with warnings.catch_warnings():  # pandera joins its few failure cases in a way that pandas will change
                warnings.simplefilter("ignore", FutureWarning)
                self.pandera().validate(frame, lazy=True)
        except SchemaErrors as errors:
            found: dict[str, Mask] = {}
            for error in errors.schema_errors:  # several checks may share a reason
                rows = ~np.asarray(error.check_output, bool)
                found[error.check.name] = found[error.check.name] | rows if error.check.name in found else rows
            return found
        return {}


def _check(reason: str, rule: Rule, of: str | None = None) -> Any:
    def check(data: Any) -> Any:
        import pandas as pd

        if of is not None:
            passed = rule(pa.chunked_array(data.array.__arrow_array__()))
        else:
            passed = rule({c: pa.chunked_array(data[c].array.__arrow_array__()) for c in data.columns})
        return pd.Series(mask(passed), index=data.index)

    # one failure case in the exception is enough: the rows come from the check's own output
    return pandera.Check(check, name=reason, ignore_na=False, n_failure_cases=1)


def _or_null(rule: Rule) -> Rule:
    return lambda column: pc.fill_null(rule(column), True)


def _short(limit: int) -> Rule:
    return _or_null(lambda c: pc.less_equal(pc.utf8_length(c), limit))


def _between(low: float, high: float) -> Rule:
    return _or_null(lambda c: pc.and_(pc.greater_equal(c, low), pc.less_equal(c, high)))


_CONTROL = bytes_of("".join(map(chr, [*range(0x20), 0x7F])))
_CONTROL_IN_TEXT = bytes_of("".join(map(chr, [*range(9), 11, 12, *range(14, 0x20), 0x7F])))


def _clean(which: Bytes, pattern: str) -> Rule:
    """Return the rule that a text has none of the bytes `which`, as `pattern` says it for one text."""

    def rule(column: Column) -> Column:
        if not holds_any(column, which):  # nearly always
            return pa.chunked_array([pa.array(np.ones(len(column), bool))])
        return pc.fill_null(pc.invert(pc.match_substring_regex(column, pattern)), True)

    return rule


_no_control = _clean(_CONTROL, r"[\x00-\x1f\x7f]")
_plain = _clean(_CONTROL_IN_TEXT, r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def _identifier(column: Column) -> Column:
    return pc.and_(_short(MAX_ID)(column), _no_control(column))


_timely = _or_null(lambda c: pc.greater_equal(c, pa.scalar(EARLIEST, c.type)))


def _is_object(text: str | None) -> bool:
    if text is None:
        return True
    try:
        return isinstance(orjson.loads(text), dict)
    except orjson.JSONDecodeError:
        return False


def _json_objects(column: Column) -> Column:
    return pa.array([_is_object(v) for v in column.to_pylist()], pa.bool_())


EVENT_SCHEMA: Final = TableSchema(
    name="events",
    arrow=EVENTS,
    required=EVENTS_REQUIRED,
    key=("event_id",),
    reasons=EVENT_REASONS,
    rules={
        "event_id": [("missing_event_id", pc.is_valid), ("bad_event_id", _identifier)],
        "event_time": [("missing_event_time", pc.is_valid), ("event_time_too_old", _timely)],
        "user_id": [("missing_user_id", pc.is_valid), ("bad_user_id", _identifier), ("nobody", somebody)],
        "session_id": [("bad_session_id", _identifier)],
        "kind": [("unknown_kind", lambda c: pc.is_in(c, pa.array(KINDS)))],
        "item_id": [("bad_item_id", _identifier)],
        "query": [("bad_query", _short(MAX_QUERY)), ("bad_query", _plain)],
        "position": [("bad_position", _between(0, MAX_POSITION))],
        "value": [("bad_value", _between(0, MAX_VALUE))],
    },
    across=(
        ("missing_item_id", lambda t: pc.or_(pc.is_valid(t["item_id"]), _searching(t["kind"]))),
        ("missing_query", lambda t: pc.or_(pc.is_valid(t["query"]), pc.invert(_searching(t["kind"])))),
    ),
)


def _searching(kind: Column) -> Column:
    return pc.fill_null(pc.equal(kind, "search"), False)


CATALOG_SCHEMA: Final = TableSchema(
    name="catalog",
    arrow=CATALOG,
    required=CATALOG_REQUIRED,
    key=("item_id",),
    reasons=CATALOG_REASONS,
    rules={
        "item_id": [("missing_item_id", pc.is_valid), ("bad_item_id", _identifier)],
        "title": [
            ("missing_title", lambda c: pc.fill_null(pc.greater(pc.utf8_length(pc.utf8_trim_whitespace(c)), 0), False)),
            ("bad_title", _short(MAX_TITLE)),
            ("bad_title", _plain),
        ],
        "description": [("bad_description", _short(MAX_TEXT)), ("bad_description", _plain)],
        "brand": [("bad_brand", _short(MAX_NAME)), ("bad_brand", _plain)],
        "category": [("bad_category", _short(MAX_NAME)), ("bad_category", _plain)],
        "price": [("bad_price", _between(0, MAX_VALUE))],
        "currency": [("bad_currency", _or_null(lambda c: pc.match_substring_regex(c, r"^[A-Z]{3}$")))],
        "attributes": [("bad_attributes", _short(MAX_TEXT)), ("bad_attributes", _json_objects)],
    },
)

JUDGMENT_SCHEMA: Final = TableSchema(
    name="judgments",
    arrow=JUDGMENTS,
    required=tuple(JUDGMENTS.names),
    key=("query", "item_id"),
    reasons=JUDGMENT_REASONS,
    rules={
        "query": [("missing_query", pc.is_valid), ("bad_query", _short(MAX_QUERY)), ("bad_query", _plain)],
        "item_id": [("missing_item_id", pc.is_valid), ("bad_item_id", _identifier)],
        "relevance": [("missing_relevance", pc.is_valid), ("bad_relevance", _between(0, MAX_VALUE))],
    },
)

SCHEMAS: Final = {s.name: s for s in (EVENT_SCHEMA, CATALOG_SCHEMA, JUDGMENT_SCHEMA)}
