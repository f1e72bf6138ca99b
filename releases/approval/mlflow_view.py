"""Opens MLflow's pages in their view for model training; by default they begin with the one for chat bots."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from contracts.errors import StackError

if TYPE_CHECKING:
    from flask import Flask, Response

#: Chooses the view before the pages' own scripts run, where the person has not chosen one in this browser.
CHOICE = """<script>
try { if (localStorage.getItem("mlflow.workflowType_v1") === null)
  localStorage.setItem("mlflow.workflowType_v1", '"machine_learning"') } catch { /* a browser that keeps nothing */ }
</script>"""


def train_first(app: Flask) -> None:
    """Let the page that `app` serves for every place begin with the choice."""
    if "serve" not in app.view_functions:
        raise StackError("this MLflow does not serve its page as known", remedy="use the version that is pinned")
    app.view_functions["serve"] = lambda: _page(app)


def _page(app: Flask) -> Response:
    from flask import make_response

    page = (Path(str(app.static_folder)) / "index.html").read_text()
    return make_response(page.replace("<head>", f"<head>{CHOICE}", 1), {"Cache-Control": "no-cache"})
