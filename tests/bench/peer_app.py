"""The least that FastAPI on the same server can do: parse a body, answer a constant. The floor of what HTTP costs."""

from __future__ import annotations

import sys

from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()


class Body(BaseModel):
    """As much as a recommendation request has."""

    user_id: str
    k: int = 10


ITEMS = [{"item_id": f"i-{n:05d}", "title": f"item {n}", "score": 1.0} for n in range(10)]


@app.post("/recommend")
async def recommend(body: Body) -> dict[str, object]:
    return {"items": ITEMS[: body.k]}


@app.get("/readyz")
async def ready() -> dict[str, bool]:
    return {"ready": True}


if __name__ == "__main__":
    from granian import Granian
    from granian.constants import Interfaces, Loops

    Granian(
        "tests.bench.peer_app:app",
        address="127.0.0.1",
        port=int(sys.argv[1]),
        interface=Interfaces.ASGI,
        loop=Loops.uvloop,
        websockets=False,
    ).serve()
