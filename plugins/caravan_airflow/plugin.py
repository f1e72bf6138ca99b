"""The plugin Airflow loads: links from its menu to the other pages of the stack."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin

from contracts.settings import settings

_s = settings()


class CaravanPlugin(AirflowPlugin):
    """Menu entries; the pages behind them ask for their own sign-in."""

    name = "caravan"
    external_views = [  # noqa: RUF012 - an instance variable where Airflow declares it
        {"name": "MLflow", "href": _s.mlflow_address, "destination": "nav", "category": "browse"},
        {"name": "Shop API", "href": f"{_s.edge_address}/docs", "destination": "nav", "category": "browse"},
    ]
