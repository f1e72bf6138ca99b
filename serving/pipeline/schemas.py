"""Defines the bodies that go in and out over HTTP, with examples; the OpenAPI page is made from these."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic.config import JsonDict

from contracts.events import MAX_QUERY, Identifier

MAX_K = 100
MAX_EXCLUDE = 1000
MAX_CONTEXT_ITEMS = 50
MAX_EVENTS = 500
MAX_TOKEN = 4096
#: Bytes of one request's body.
MAX_BODY = 1_048_576

_EXAMPLE_ITEM: JsonDict = {
    "item_id": "i-0042",
    "title": "Walnut desk lamp",
    "category": "home/lighting",
    "price": 39.9,
    "currency": "EUR",
    "score": 4.31,
}
_EXAMPLE_ANSWER: JsonDict = {
    "release": "9f2c" + "0" * 60,
    "request_id": "0b9f6c1e-52b3-4f0e-9a44-6f6f5c1d9a10",
    "items": [_EXAMPLE_ITEM],
    "fallback": False,
    "timings_ms": {"online_read": 0.6, "sources": 1.1, "total": 2.4},
}


#: Where an answer is shown.
Page = Literal["home", "item", "cart", "category"]


class Context(BaseModel):
    """The shop's knowledge of this moment."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    items: Annotated[list[Identifier], Field(max_length=MAX_CONTEXT_ITEMS)] = Field(
        default=[], description="Items of this session, oldest first; they continue the shopper's history."
    )
    category: Annotated[str, StringConstraints(max_length=MAX_QUERY)] | None = Field(
        default=None, description="Where the shopper is; its popular items come first in a fallback."
    )
    page: Page = Field(
        default="home",
        description="item: what goes with the last of `items`; cart: with all of them, which are its contents; "
        "category: of `category` alone. What is on the page is not in the answer.",
    )

    @model_validator(mode="after")
    def _has_what_its_page_shows(self) -> Context:
        if self.page in ("item", "cart") and not self.items:
            raise ValueError(f"a page {self.page!r} needs `items`: what is on it")
        if self.page == "category" and self.category is None:
            raise ValueError("a page 'category' needs `category`")
        return self


class RecommendRequest(BaseModel):
    """`POST /recommend`."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={
            "examples": [{"user_id": "shopper-7", "k": 10, "context": {"items": ["i-0007"]}, "exclude": ["i-0001"]}]
        },
    )

    user_id: Identifier = Field(description="As the shop knows the shopper; hashed before anything else happens.")
    session_id: Identifier | None = None
    k: Annotated[int, Field(ge=1, le=MAX_K)] = 10
    context: Context = Context()
    exclude: Annotated[list[Identifier], Field(max_length=MAX_EXCLUDE)] = Field(
        default=[], description="Items that must not be in the answer."
    )
    hide_purchased: bool = Field(default=True, description="Leave out what the shopper bought.")
    hide_seen: bool = Field(default=False, description="Leave out everything in the shopper's recent history.")
    max_per_category: Annotated[int, Field(ge=1, le=MAX_K)] | None = Field(
        default=None, description="At most so many items of one category."
    )
    diversity: Annotated[float, Field(ge=0, le=0.95)] = Field(
        default=0.0, description="0: the best items; the higher, the less they resemble one another."
    )


class Because(BaseModel):
    """What carried an item into an answer."""

    source: str = Field(description="The source that carried it; see docs/models.md for all.")
    item_id: str | None = Field(default=None, description="The item of the shopper's history that it came from.")
    category: str | None = Field(default=None, description="The category that it came from.")
    parts: dict[str, float] = Field(description="What each source added to the score, which is their sum.")


class AnswerItem(BaseModel):
    """One ranked item."""

    item_id: str
    title: str
    category: str | None = None
    price: float | None = None
    currency: str | None = None
    score: float
    source: str | None = Field(default=None, description="The source that carried it; see docs/models.md for all.")
    because: Because | None = Field(default=None, description="For the shop's key, and the shopper's own token.")


class Answer(BaseModel):
    """The answer of /recommend, /search and /similar."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE_ANSWER]})

    release: str | None = Field(default=None, description="Digest of the release that answered; for the shop's key.")
    request_id: str
    items: list[AnswerItem]
    fallback: bool = Field(description="True when the answer is not the best that the release can give.")
    fallback_reason: str | None = Field(default=None, description="Why; see docs/serving.md for all values.")
    stale: bool | None = Field(default=None, description="True when the shopper's features are past their age limit.")
    timings_ms: dict[str, float] = Field(description="Milliseconds per stage, and `total`.")


class EventsRequest(BaseModel):
    """`POST /events`; each event is judged on its own."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "events": [
                        {
                            "event_id": "e-1",
                            "event_time": "2026-01-05T12:00:00Z",
                            "user_id": "shopper-7",
                            "session_id": "s-1",
                            "kind": "view",
                            "item_id": "i-0042",
                        }
                    ]
                }
            ]
        },
    )

    events: Annotated[list[Any], Field(min_length=1, max_length=MAX_EVENTS)]
    token: Annotated[str, StringConstraints(max_length=MAX_TOKEN)] | None = Field(
        default=None, description="A shopper's token, from a beacon, which can set no header."
    )


class TokenRequest(BaseModel):
    """`POST /shopper`."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"user_id": "shopper-7"}]})

    user_id: Identifier | None = Field(
        default=None, description="Whose token; with the shop's key alone. Without it, a new guest's."
    )


class TokenAnswer(BaseModel):
    """The answer of /shopper; the token also comes as a cookie."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"token": "eyJhbGciOiJI…", "user_id": "shopper-7", "expires": 1767225600}]}
    )

    token: str
    user_id: str
    expires: int = Field(description="Seconds since 1970.")


class Verdict(BaseModel):
    """The verdict on one event: accepted, duplicate (known already) or rejected (with the reason)."""

    event_id: str | None
    status: str
    reason: str | None = None


class EventsAnswer(BaseModel):
    """The answer of /events; accepted events are on disk by then."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "release": "9f2c" + "0" * 60,
                    "request_id": "0b9f6c1e-52b3-4f0e-9a44-6f6f5c1d9a10",
                    "accepted": 1,
                    "duplicates": 0,
                    "rejected": 0,
                    "online": True,
                    "verdicts": [{"event_id": "e-1", "status": "accepted"}],
                    "fallback": False,
                    "timings_ms": {"validate": 0.1, "log": 1.9, "push": 2.2, "total": 4.4},
                }
            ]
        }
    )

    release: str | None = Field(default=None, description="For the shop's key.")
    request_id: str
    accepted: int
    duplicates: int
    rejected: int
    online: bool = Field(description="True when the online store has them: the next answer knows.")
    verdicts: list[Verdict]
    fallback: bool = Field(description="True when events wait to reach the online store.")
    fallback_reason: str | None = None
    timings_ms: dict[str, float]


class Problem(BaseModel):
    """An error, of any route."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "error": "q: it is empty",
                    "remedy": "GET /search takes q (required, 1 to 256 characters)",
                    "request_id": "0b9f6c1e",
                    "field": "q",
                }
            ]
        }
    )

    error: str
    remedy: str
    request_id: str
    field: str | None = Field(default=None, description="The field that is wrong, where it is one of the request's.")


class Readiness(BaseModel):
    """The release that the engine serves, and the one it refused last."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"ready": True, "stage": "serving", "release": "9f2c" + "0" * 60, "source": "shop"}]
        }
    )

    ready: bool
    stage: str = Field(description="starting, waiting, loading, warming, serving or draining.")
    release: str | None = None
    source: str | None = None
    reason: str | None = Field(default=None, description="Why it is not ready, or why the newest release was refused.")
    refused: str | None = Field(default=None, description="Digest of the release refused last.")
    items: int | None = None
    overlay: str | None = Field(default=None, description="Digest of the overlay whose availability holds.")
    overlay_refused: str | None = Field(default=None, description="Why the newest overlay does not hold.")
