"""The plugin Airflow loads: links in its menu, the page of the shop's API, and the check of a run's parameters."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from airflow.plugins_manager import AirflowPlugin
from caravan_airflow.ui.conf_door import ConfDoor

from artifacts.registry import mlflow_page
from contracts.settings import API_PAGE, settings

_s = settings()


async def shop_api(
    scope: MutableMapping[str, Any], receive: Callable[..., Awaitable[Any]], send: Callable[..., Awaitable[Any]]
) -> None:
    """Serve the API's page, imported when asked for: tasks load this plugin too, and may not touch what it needs."""
    from caravan_airflow.ui.api_page import application

    await application()(scope, receive, send)


class CaravanPlugin(AirflowPlugin):
    """Menu entries; MLflow asks for its own sign-in."""

    name = "caravan"
    fastapi_apps = [  # noqa: RUF012 - an instance variable where Airflow declares it
        {"app": shop_api, "url_prefix": f"/{API_PAGE}", "name": "The shop's API"},
    ]
    fastapi_root_middlewares = [{"middleware": ConfDoor, "name": "Parameters of a run"}]  # noqa: RUF012
    external_views = [  # noqa: RUF012
        {"name": "MLflow", "href": mlflow_page(_s, "experiments"), "destination": "nav", "category": "browse"},
        {
            "name": "Shop API", "href": f"/{API_PAGE}/", "url_route": API_PAGE, "destination": "nav",
            "category": "browse",
        },
    ]  # fmt: skip
