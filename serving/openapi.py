"""The OpenAPI document of the shop's API, as the edge lets it be reached; made without an engine."""

from __future__ import annotations

from typing import Any, cast

from serving.app import routes
from serving.parts import Parts


def document(address: str) -> dict[str, Any]:
    """What can be asked of the edge at `address`, and what it answers."""
    found = routes(cast(Parts, None)).openapi()  # nobody asks this one anything
    about = {"title": "The shop's API", "description": _TRY.format(address=address)}
    servers = [{"url": address, "description": "the edge of the region that is active"}]
    return {**found, "info": found["info"] | about, "servers": servers}


_TRY = """Every answer is JSON; every error says what is wrong and what to do. To try it:

```
curl -s {address}/recommend --json '{{"user_id": "shopper-7", "k": 5}}'
curl -s '{address}/search?q=lamp&k=5'
```
"""
