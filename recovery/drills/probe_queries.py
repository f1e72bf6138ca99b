"""Repeats questions that shoppers asked: recent sessions and searches from the event log.

The log has no names of people, so a recorded session is asked by the items it saw, for nobody in particular. The
requests are marked as a shadow's: the engines count and log nothing of them as a shopper's.
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
from serving.edge.arm_assignment import SHADOW

_ASKERS = 4
#: How often a question is asked while the online store does not answer in time.
_TRIES = 5
#: How many items of a session are sent with its question.
_LATEST = 5

Asked = TypeVar("Asked")


@dataclass(frozen=True)
class Question:
    """One request: `/recommend` with a session's items, or `/search` with its words."""

    items: tuple[str, ...] = ()
    words: str = ""


def recorded(folder: Path, count: int) -> list[Question]:
    """Return the newest `count` questions, without repetition, newest first."""
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


def is_late_fallback(body: dict[str, Any]) -> bool:
    """Check whether an answer is a fallback for a late online store, as a briefly busy machine gives it."""
    return str(body.get("fallback_reason") or "").startswith("online-store")


def answer_of(ask: Callable[[], httpx.Response]) -> dict[str, Any]:
    """Return the answer; call `ask` again while it is only a fallback. Raises httpx.HTTPError for a refusal."""
    body: dict[str, Any] = {}
    for _ in range(_TRIES):
        body = ask().raise_for_status().json()
        if not is_late_fallback(body):
            break
    return body


def ask_in_parallel(
    ask: Callable[[httpx.Client, int], Asked], count: int, address: str = "", **options: Any
) -> list[Asked]:
    """Return what `ask` says for each number below `count`, in order; `options` are httpx.Client's.

    Every thread has its own client. A shared one takes a connection for dropped by the server when the answer arrives
    between two checks of its pool, and closes it under the thread that reads from it.
    """

    def some(first: int) -> list[Asked]:
        with reach.client(address, timeout=20, **options) as client:
            return [ask(client, number) for number in range(first, count, _ASKERS)]

    with ThreadPoolExecutor(_ASKERS) as pool:
        parts = list(pool.map(some, range(_ASKERS)))
    return [parts[number % _ASKERS][number // _ASKERS] for number in range(count)]


def answers(address: str, questions: Sequence[Question]) -> list[tuple[str, tuple[str, ...]]]:
    """Return release and items of each answer, in order. Raises RecoveryError when the engine does not answer one."""
    return ask_in_parallel(
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
