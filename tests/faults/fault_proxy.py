"""A reverse proxy that fails on purpose: `python -m tests.faults.fault_proxy --target URL --port P --errors 0.02`.

It stands between the edge and one engine. Health checks pass as they are: what is broken is what shoppers meet.
"""

from __future__ import annotations

import argparse
import asyncio
import random

import aiohttp
from aiohttp import web

from contracts.sockets import SCHEME

#: Headers that belong to one hop.
HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "content-encoding", "host"}


async def serve(target: str, port: int, errors: float, delay: float) -> None:
    draw = random.Random(port)
    socket = target.removeprefix(SCHEME) if target.startswith(SCHEME) else None
    connector = aiohttp.UnixConnector(socket) if socket else aiohttp.TCPConnector()
    target = "http://engine" if socket else target
    async with aiohttp.ClientSession(auto_decompress=False, connector=connector) as session:

        async def forward(request: web.Request) -> web.Response:
            sound = request.path in ("/readyz", "/healthz")
            if not sound and request.path != "/events":
                if delay:
                    await asyncio.sleep(delay)
                if draw.random() < errors:
                    return web.json_response({"error": "injected"}, status=500)
            headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP}
            headers["host"] = request.headers["host"]  # the engine knows a mirrored request by it
            async with session.request(
                request.method, target + request.raw_path, headers=headers, data=await request.read()
            ) as answer:
                kept = {name: value for name, value in answer.headers.items() if name.lower() not in HOP}
                return web.Response(status=answer.status, headers=kept, body=await answer.read())

        app = web.Application()
        app.router.add_route("*", "/{path:.*}", forward)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--target", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--errors", type=float, default=0.0, help="share of questions that fail")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds added to every answer")
    chosen = parser.parse_args()
    asyncio.run(serve(chosen.target, chosen.port, chosen.errors, chosen.delay))


if __name__ == "__main__":
    main()
