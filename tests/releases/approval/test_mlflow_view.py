"""A new browser sees MLflow's view for model training, also after the first click."""

from __future__ import annotations

from pathlib import Path

import pytest
from flask import Flask

from contracts.errors import StackError
from releases.approval.mlflow_view import train_first


def test_the_page_chooses_the_view_before_its_own_scripts(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<html><head><script src='main.js'></script></head></html>")
    app = Flask("pages", static_folder=str(tmp_path))
    app.add_url_rule("/", "serve", lambda: "as it came")
    train_first(app)
    answer = app.test_client().get("/")
    text = answer.get_data(as_text=True)
    assert text.index("machine_learning") < text.index("main.js")
    assert answer.headers["Cache-Control"] == "no-cache"


def test_another_mlflow_is_refused_by_name() -> None:
    with pytest.raises(StackError, match="does not serve its page"):
        train_first(Flask("pages"))
