"""Every DAG: parses fast, imports nothing heavy, only wires, and can be understood in the UI."""

from __future__ import annotations

import ast
import functools
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import REPOSITORY

DAGS = sorted((REPOSITORY / "dags").glob("*.py"))
#: Seconds; two cores may be busy with other tests, so the best of three counts.
PARSE_BUDGET = 0.5
ORDER = ["validate", "features", "materialize", "train", "evaluate", "gate", "register", "offer", "report"]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Airflow's own folder in a temporary place, and the paths that Airflow puts before a DAG file."""
    home = tmp_path_factory.mktemp("airflow")
    return os.environ | {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "CARAVAN_HOME": str(home / "caravan"),
        "PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "plugins"), str(REPOSITORY / "dags")]),
    }


@pytest.fixture(scope="module")
def facts(environment: dict[str, str]) -> Any:
    """Facts of a DAG file, by its path."""

    @functools.cache
    def inspect(path: Path) -> dict[str, Any]:
        runs = []
        for _ in range(3):
            done = subprocess.run(
                [sys.executable, "-m", "tests.dags.inspect_dag", str(path)],
                cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=120, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            runs.append(json.loads(done.stdout.splitlines()[-1]))
            if runs[-1]["seconds"] < PARSE_BUDGET:
                break
        return min(runs, key=lambda run: float(run["seconds"]))

    return inspect


@pytest.fixture(params=DAGS, ids=lambda path: path.stem)
def path(request: pytest.FixtureRequest) -> Path:
    return Path(request.param)


def test_parses_in_well_under_a_second_without_heavy_modules(path: Path, facts: Any) -> None:
    found = facts(path)
    assert found["heavy"] == []
    assert found["seconds"] < PARSE_BUDGET


def test_the_file_name_is_the_dag_id(path: Path, facts: Any) -> None:
    assert list(facts(path)["dags"]) == [path.stem]


def test_a_person_understands_it_in_the_ui(path: Path, facts: Any) -> None:
    dag = facts(path)["dags"][path.stem]
    assert dag["doc"]
    assert dag["description"]
    assert dag["tags"]
    for name, task in dag["tasks"].items():
        assert task["doc"], name
        assert task["owner"] not in ("", "airflow"), name


#: A rehearsal that cuts shoppers off must not do so a second time by itself.
ONCE = ("rehearse",)


def test_every_task_has_retries_and_a_timeout(path: Path, facts: Any) -> None:
    for name, task in facts(path)["dags"][path.stem]["tasks"].items():
        assert (task["retries"] >= 1) != (name in ONCE), name
        assert task["retry_delay"] > 0, name
        assert task["timeout"], name


def test_every_parameter_is_typed_and_explained(path: Path, facts: Any) -> None:
    for name, param in facts(path)["dags"][path.stem]["params"].items():
        schema = param["schema"]
        assert schema["title"], name
        assert param["description"], name
        assert schema["type"], name
        bounded = {"format", "pattern", "enum", "maximum"} & schema.keys() or schema["type"] == "boolean"
        assert bounded, f"{name} takes anything"


def test_every_form_is_known_where_unknown_names_are_refused(path: Path, facts: Any) -> None:
    from caravan_airflow.conf import PARAMETERS

    assert set(PARAMETERS) == {dag.stem for dag in DAGS}
    assert set(PARAMETERS[path.stem]) == set(facts(path)["dags"][path.stem]["params"])


def test_parameters_never_reach_a_template(path: Path, facts: Any) -> None:
    for name, task in facts(path)["dags"][path.stem]["tasks"].items():
        assert task["templated"] == [], name
    source = path.read_text()
    assert "{{" not in source
    assert "bash" not in source.lower()


def test_a_task_body_is_one_import_and_one_call(path: Path) -> None:
    def is_task(node: ast.FunctionDef) -> bool:
        return any("task" in ast.unparse(decorator) for decorator in node.decorator_list)

    tree = ast.parse(path.read_text())
    bodies = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    assert bodies
    for function in bodies:
        assert is_task(function), f"{function.name} is not a task: it belongs into plugins/caravan_airflow"
        kinds = [type(statement) for statement in function.body]
        assert kinds == [ast.ImportFrom, ast.Return], function.name
        returned = function.body[1]
        assert isinstance(returned, ast.Return)
        assert isinstance(returned.value, ast.Call), function.name


def test_the_nightly_chain_is_whole_and_in_order(facts: Any) -> None:
    dag = facts(REPOSITORY / "dags" / "nightly.py")["dags"]["nightly"]
    assert [name for name in dag["tasks"] if name != "champion_stays"] == ORDER
    for before, after in itertools.pairwise(ORDER):
        assert before in dag["tasks"][after]["upstream"], f"{before} -> {after}"
    assert dag["tasks"]["champion_stays"]["upstream"] == ["gate"]  # the other way on from there
    assert {"offer", "champion_stays"} <= set(dag["tasks"]["report"]["upstream"])
    assert dag["catchup"] is False
    assert dag["max_active_runs"] == 1
    assert dag["timetable"] == "CronDataIntervalTimetable"
    assert {name for name, task in dag["tasks"].items() if task["teardown"]} == {"report"}
    assert all(task["inlets"] for task in dag["tasks"].values())
    assert [name for name, task in dag["tasks"].items() if not task["outlets"]] == ["champion_stays"]
    assert set(dag["params"]) == {"day", "source", "recipe", "rollout"}


def test_a_release_only_waits_and_asks(facts: Any) -> None:
    dag = facts(REPOSITORY / "dags" / "release.py")["dags"]["release"]
    road = ["approved", "shadow", "canary_1", "canary_5", "canary_25", "canary_50", "champion"]
    assert set(dag["tasks"]) == {"brief", "approval", "close_request", *road}
    for before, after in itertools.pairwise(road):
        assert dag["tasks"][after]["upstream"] == [before]
    # nothing depends on the request: it may be ended, and the release go on, whoever answered
    assert [name for name, task in dag["tasks"].items() if "approval" in task["upstream"]] == []
    assert dag["timetable"] == "NullTimetable"
    assert dag["max_active_runs"] > 10
    assert dag["tasks"]["champion"]["outlets"] == ["champion"]
    assert dag["params"]["digest"]["schema"]["pattern"] == "^[0-9a-f]{64}$"


def test_airflow_loads_the_plugin_and_nothing_else(environment: dict[str, str]) -> None:
    """And says nothing meanwhile: what a task process does first is at the top of every log."""
    script = (
        "from airflow.sdk.plugins_manager import _get_plugins\n"
        "plugins, errors = _get_plugins()\n"
        "print([p.name for p in plugins if 'caravan' in (p.name or '')], errors)"
    )
    folder = str(REPOSITORY / "plugins" / "loaded_by_airflow")
    done = subprocess.run(
        [sys.executable, "-W", "error:GitWildMatchPattern", "-c", script],
        cwd=REPOSITORY, env={**environment, "AIRFLOW__CORE__PLUGINS_FOLDER": folder}, capture_output=True, text=True,
        timeout=120, check=True,
    )  # fmt: skip
    assert done.stdout.strip().splitlines()[-1] == "['caravan'] {}"
    assert [path.name for path in Path(folder).glob("*.py")] == ["caravan_plugin.py"]


def test_airflow_puts_the_check_of_parameters_around_its_api(environment: dict[str, str]) -> None:
    script = (
        "from airflow.api_fastapi.app import init_plugins\n"
        "from fastapi import FastAPI\n"
        "from fastapi.testclient import TestClient\n"
        "app = FastAPI()\n"
        "app.post('/api/v2/dags/{dag}/dagRuns')(lambda dag: dag)\n"
        "init_plugins(app)\n"
        "asked = TestClient(app).post\n"
        "print([asked('/api/v2/dags/nightly/dagRuns', json={'conf': c}).status_code for c in ({'Day': 1}, {})])"
    )
    folder = str(REPOSITORY / "plugins" / "loaded_by_airflow")
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=REPOSITORY, env={**environment, "AIRFLOW__CORE__PLUGINS_FOLDER": folder}, capture_output=True, text=True,
        timeout=120, check=True,
    )  # fmt: skip
    assert done.stdout.strip().splitlines()[-1] == "[422, 200]"
