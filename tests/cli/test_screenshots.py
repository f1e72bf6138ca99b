"""The docs' picture of a request shows a release that a night trained, and nothing that a test made up."""

from __future__ import annotations

from typing import Any, cast

import pytest

from caravan.cli.airflow_api import Airflow
from contracts.errors import NotFound
from tests.browser.screenshots import newest_request


class Requests:
    """Requests in Airflow, the newest first."""

    def __init__(self, waiting: list[str], answered: list[str]) -> None:
        self.runs = {False: waiting, True: answered}

    def call(self, _method: str, _path: str, params: dict[str, Any]) -> dict[str, Any]:
        found = self.runs[params["response_received"]]
        return {"hitl_details": [{"task_instance": {"dag_run_id": run}} for run in found]}


@pytest.mark.parametrize(
    ("waiting", "answered", "chosen"),
    [(["seen-1", "shop-b"], ["shop-a"], "shop-b"), (["seen-1"], ["seen-2", "shop-b", "shop-a"], "shop-b")],
)
def test_the_newest_of_a_night_is_chosen(waiting: list[str], answered: list[str], chosen: str) -> None:
    assert newest_request(cast("Airflow", Requests(waiting, answered)), {"shop-a", "shop-b"}) == chosen


def test_without_one_it_says_what_makes_one() -> None:
    with pytest.raises(NotFound, match="caravan demo"):
        newest_request(cast("Airflow", Requests(["seen-1"], [])), {"shop-a"})
