"""Questions that shoppers asked, asked again: recent sessions and searches out of the event log.

The log has no names of people, so a recorded session is asked as what it saw, by nobody in particular. The engines are
told that it is a shadow's question: nothing of it is counted or logged as a shopper's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx

from contracts.errors import RecoveryError
from recovery.shipping import event_log
from serving import reach
from serving.edge.listener import SHADOW

_ASKERS = 4
#: So often is asked, when the online store did not answer in time.
_TRIES = 5
#: Items of a session that are asked with it.
_LATEST = 5

Asked = TypeVar("Asked")


@dataclass(frozen=True)
class Question:
    """One request: `/recommend` with a session's items, or `/search` with its words."""

    items: tuple[str, ...] = ()
    words: str = ""


def recorded(folder: Path, count: int) -> list[Question]:
    """The newest `count` of them, without repetition; newest first."""
    sessions: dict[str, list[str]] = {}
    found: dict[Question, None] = {}
    for path in sorted(folder.glob("*/*.jsonl"), reverse=True):
        for _, event in reversed(list(event_log.events(path))):
            if event["kind"] == "search" and event["query"]:
                found.setdefault(Question(words=event["query"]))
            elif event["kind"] in ("view", "click", "add_to_cart", "purchase") and event["item_id"]:
                sessions.setdefault(str(event["user_id"]), []).append(event["item_id"])
        for items in sessions.values():
            found.setdefault(Question(items=tuple(reversed(items[:_LATEST]))))
        sessions.clear()
        if len(found) >= count:
            break
    return list(found)[:count]


def stood_in(body: dict[str, Any]) -> bool:
    """Whether an answer stands in for the one there is, as a machine that is busy for a moment gives it."""
    return str(body.get("fallback_reason") or "").startswith("online-store")


def answer_of(ask: Callable[[], httpx.Response]) -> dict[str, Any]:
    """The answer; while it only stands in for one, `ask` is called again. Raises httpx.HTTPError for a refusal."""
    body: dict[str, Any] = {}
    for _ in range(_TRIES):
        body = ask().raise_for_status().json()
        if not stood_in(body):
            break
    return body


def by_several(ask: Callable[[httpx.Client, int], Asked], count: int, address: str = "", **options: Any) -> list[Asked]:
    """What `ask` says for each number below `count`, in order; `options` are httpx.Client's.

    Every asker has a client of its own: one that is shared takes a connection for dropped by the server, and closes it
    under the thread that reads from it, when the answer comes between two looks of its pool.
    """

    def some(first: int) -> list[Asked]:
        with reach.client(address, timeout=20, **options) as client:
            return [ask(client, number) for number in range(first, count, _ASKERS)]

    with ThreadPoolExecutor(_ASKERS) as pool:
        parts = list(pool.map(some, range(_ASKERS)))
    return [parts[number % _ASKERS][number // _ASKERS] for number in range(count)]


def answers(address: str, questions: Sequence[Question]) -> list[tuple[str, tuple[str, ...]]]:
    """Release and items of each answer, in order. Raises RecoveryError when the engine does not answer one."""
    return by_several(
        lambda client, number: _answer(client, number, questions[number]),
        len(questions),
        address,
        headers={"host": f"rehearsal{SHADOW}"},
    )


def _answer(client: httpx.Client, number: int, question: Question) -> tuple[str, tuple[str, ...]]:
    def ask() -> httpx.Response:
        if question.words:
            return client.get("/search", params={"q": question.words})
        context = {"items": list(question.items)}
        return client.post("/recommend", json={"user_id": f"rehearsal-{number}", "context": context})

    try:
        body = answer_of(ask)
        return str(body["release"]), tuple(str(item["item_id"]) for item in body["items"])
    except (httpx.HTTPError, ValueError, KeyError) as error:
        raise RecoveryError(
            f"the engine at {client.base_url} does not answer a recorded question: {error}",
            remedy="`caravan status` shows whether it serves",
        ) from error
