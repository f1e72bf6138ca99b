"""Recorded questions, asked again by several at once."""

from __future__ import annotations

import httpx
import pytest

from recovery.drills.probe_queries import answer_of, ask_in_parallel


@pytest.mark.parametrize("count", [0, 1, 3, 4, 11])
def test_answers_come_in_the_order_of_the_questions(count: int) -> None:
    assert ask_in_parallel(lambda _client, number: number, count) == list(range(count))


def test_no_two_askers_share_a_client() -> None:
    used = ask_in_parallel(lambda client, number: (client, number % 4), 40)
    assert len({client for client, _ in used}) == len(set(used)) == 4


def test_what_stands_in_for_an_answer_is_asked_again_and_at_last_taken() -> None:
    request = httpx.Request("POST", "http://127.0.0.1/recommend")

    def asked(*reasons: str) -> tuple[dict[str, str], int]:
        left = [httpx.Response(200, json={"fallback_reason": reason}, request=request) for reason in reasons]
        return answer_of(lambda: left.pop(0)), len(left)

    assert asked("online-store-timeout", "new-shopper", "") == ({"fallback_reason": "new-shopper"}, 1)
    assert asked(*["online-store-timeout"] * 6) == ({"fallback_reason": "online-store-timeout"}, 1)


def test_a_refusal_is_no_answer() -> None:
    request = httpx.Request("GET", "http://127.0.0.1/search")
    with pytest.raises(httpx.HTTPStatusError):
        answer_of(lambda: httpx.Response(503, json={}, request=request))
