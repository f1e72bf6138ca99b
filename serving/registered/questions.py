"""Reads the questions that a registered model is asked, and says in MLflow's words what they and its answers are.

One row is one question. All but `history` may be left out, of a row or of the whole table; then it is what it is for
the engine. MLflow demands a value in each row of a column whose type it knows, so only `history` has such a type, and
the others are checked here, as the engine checks them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError

from contracts.errors import DataError
from serving.bundle.release import Release
from serving.pipeline.candidates import Query
from serving.pipeline.hydrators import make_query
from serving.pipeline.schemas import RecommendRequest
from serving.pipeline.shoppers import ShopperHistory

if TYPE_CHECKING:
    from mlflow.models import ModelSignature

#: Columns that say what a request to the engine says too.
OF_REQUEST = ("k", "exclude", "hide_purchased", "hide_seen", "max_per_category")
#: All columns, in the order of the signature.
COLUMNS = ("history", "purchased", "category", *OF_REQUEST)
#: Who asks: a model has no shoppers, only their histories.
_NOBODY = "nobody"


class _Past(BaseModel):
    """What a row tells of the shopper; the engine reads it from the online store."""

    model_config = ConfigDict(strict=True)

    history: list[str]
    purchased: list[str] = []


@dataclass(frozen=True, kw_only=True)
class Question:
    """One row: the items of a shopper, oldest first, those of them that were bought, and the request."""

    history: list[str]
    purchased: list[str]
    request: RecommendRequest

    def to_query(self, release: Release) -> Query:
        """Return the query that the engine would make for a shopper with this history."""
        kinds = ["view"] * len(self.history)
        found = ShopperHistory(items=self.history, kinds=kinds, purchased=self.purchased, stale=False)
        return make_query(release, found, _NOBODY, self.request)


def read_questions(rows: Sequence[Mapping[Any, Any]]) -> list[Question]:
    """Read one question a row. Raises DataError, which names the row and the column."""
    return [_read(number, {str(name): plain(value) for name, value in row.items()}) for number, row in enumerate(rows)]


def plain(value: Any) -> Any:
    """Return a cell without NumPy's and pandas' types; None where it is empty."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return None if value is None or value != value or str(value) == "<NA>" else value


def _read(number: int, row: dict[str, Any]) -> Question:
    given = {name: value for name, value in row.items() if value is not None}
    if unknown := sorted(set(given) - set(COLUMNS)):
        raise DataError(f"row {number}: there is no column {unknown[0]}", remedy=f"use {', '.join(COLUMNS)}")
    try:
        past = _Past.model_validate({name: given[name] for name in ("history", "purchased") if name in given})
        request = {name: given[name] for name in OF_REQUEST if name in given}
        context = {"category": given["category"]} if "category" in given else {}
        asked = RecommendRequest.model_validate({"user_id": _NOBODY, "context": context, **request})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if part != "context")
        raise DataError(
            f"row {number}, {where}: {first['msg']}",
            remedy="the model's signature and docs/releases.md say what it takes",
        ) from error
    return Question(history=past.history, purchased=past.purchased, request=asked)


def signature() -> ModelSignature:
    """Describe rows of questions and of answers, as MLflow shows and enforces them."""
    from mlflow.models import ModelSignature
    from mlflow.types import DataType
    from mlflow.types.schema import AnyType, Array, ColSpec, Object, Property, Schema

    text, number = DataType.string, DataType.double
    item = Object([
        Property("item_id", text), Property("title", text), Property("category", text, required=False),
        Property("price", number, required=False), Property("currency", text, required=False),
        Property("score", number), Property("source", text),
    ])  # fmt: skip
    history = ColSpec(Array(text), "history")
    optional = [ColSpec(AnyType(), name, required=False) for name in COLUMNS if name != "history"]
    answers = [ColSpec(Array(item), "items"), ColSpec(text, "fallback", required=False)]
    return ModelSignature(inputs=Schema([history, *optional]), outputs=Schema(answers))
