"""The edge finds out who asks, and refuses a wrong key or token."""

from __future__ import annotations

from urllib.parse import unquote

from serving.callers import CALLER_HEADER, PSEUDONYM_HEADER, TOKEN_COOKIE, TOKEN_HEADER, USER_HEADER, Tokens
from serving.edge import arm_assignment, client_address
from tests.serving.edge.running_edge import AS_SHOP, TOKEN_KEY, Edge, seen


def test_the_edge_says_who_asks_whatever_a_client_claims(running: Edge) -> None:
    tokens = Tokens(TOKEN_KEY)
    anna = tokens.mint("小明@例子", lambda _: "p" * 32)
    assert anna is not None
    claims = {CALLER_HEADER: "shop", USER_HEADER: "bob", PSEUDONYM_HEADER: "x"}
    http = running.http

    running.http.cookies.clear()
    nobody = http.get("/search?q=a", headers=claims | {arm_assignment.SHOPPER_HEADER: "chosen-by-the-client"})
    assert seen(nobody)[CALLER_HEADER] == "nobody"
    assert not {USER_HEADER, PSEUDONYM_HEADER} & seen(nobody).keys()
    assert seen(nobody)[arm_assignment.SHOPPER_HEADER] != "chosen-by-the-client"
    assert running.line(nobody)["caller"] == "nobody"

    shop = http.get("/search?q=a", headers=claims | AS_SHOP | {arm_assignment.SHOPPER_HEADER: "the-shops-own-id"})
    assert seen(shop)[CALLER_HEADER] == "shop"
    assert seen(shop)[arm_assignment.SHOPPER_HEADER] == "the-shops-own-id"
    assert "authorization" not in seen(shop)
    assert running.line(shop)["caller"] == "shop"

    for where in ({TOKEN_HEADER: anna.token}, {"cookie": f"{TOKEN_COOKIE}={anna.token}"}):
        running.http.cookies.clear()
        shopper = http.get("/search?q=a", headers=claims | where | {arm_assignment.SHOPPER_HEADER: "another"})
        assert seen(shopper)[CALLER_HEADER] == "shopper"
        assert unquote(seen(shopper)[USER_HEADER]) == "小明@例子"
        assert seen(shopper)[arm_assignment.SHOPPER_HEADER] == "p" * 32
        assert (running.line(shopper)["caller"], running.line(shopper)["shopper"]) == ("shopper", "p" * 32)


def test_the_origin_of_a_token_is_the_address_that_an_edge_saw_whatever_a_client_claims(running: Edge) -> None:
    anna = Tokens(TOKEN_KEY).mint("anna", lambda _: "p" * 32)
    assert anna is not None
    here, token, word = "127.0.0.1", {TOKEN_HEADER: anna.token}, client_address.edge_word(running.s)

    def origin(*headers: tuple[str, str]) -> object:
        running.http.cookies.clear()
        answer = running.http.get("/search?q=a", headers=[*token.items(), *headers])
        assert client_address.ORIGIN_HEADER not in seen(answer)
        return running.line(answer)["origin"]

    assert origin() == here
    assert origin(("x-forwarded-for", "203.0.113.7")) == here
    assert origin((client_address.ORIGIN_HEADER, "203.0.113.7")) == here
    assert origin((client_address.ORIGIN_HEADER, f"{'0' * 64} 203.0.113.7")) == here
    assert origin((client_address.ORIGIN_HEADER, f"{word} 203.0.113.7")) == "203.0.113.7"
    assert origin(*[(client_address.ORIGIN_HEADER, f"{word} 203.0.113.7")] * 2) == here
    # the shop's own server is one address with many shoppers, and nobody's address is kept
    for headers in (AS_SHOP, {}):
        running.http.cookies.clear()
        assert running.line(running.http.get("/search?q=a", headers=headers))["origin"] is None


def test_a_wrong_key_or_token_is_refused_with_what_to_do(running: Edge) -> None:
    wrong = running.http.get("/search?q=a", headers={"authorization": "Bearer wrong"})
    assert wrong.status_code == 401
    assert "secrets/shop_key_shop" in wrong.json()["remedy"]
    other, old = Tokens("o" * 43).mint("anna", str), Tokens(TOKEN_KEY).mint("anna", str, now=1.0)
    assert other is not None
    assert old is not None
    for token in (other.token, old.token, "no.token.atall"):
        refused = running.http.get("/search?q=a", headers={TOKEN_HEADER: token})
        assert refused.status_code == 401
        assert "Jwt" in refused.json()["error"]
        assert "POST /shopper" in refused.json()["remedy"]
