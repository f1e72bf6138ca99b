"""A version in the region's own MLflow: written, read by a user who may change nothing, and served by `mlflow`."""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from artifacts.ledger import Ledger
from artifacts.object_store import ObjectStore
from artifacts.publish import publish
from artifacts.registry import Registry, Version, mlflow_client, model_name
from artifacts.signature import sign
from caravan.cli.main import app
from caravan.cli.release import model
from contracts.errors import ModelRefused
from contracts.settings import Settings
from releases import registration
from releases.model import registered
from serving.bundle.release import load_release
from serving.pipeline.pipeline import describe_chosen, rank
from serving.pipeline.stage_timings import StageWatch
from serving.registered import model_files
from serving.registered.questions import read_questions
from tests.conftest import REPOSITORY
from tests.fakes import GATE
from tests.serving import tiny_release
from tests.waiting import until

pytestmark = [pytest.mark.stack, pytest.mark.slow]
QUESTIONS = [{"history": [tiny_release.item_id(0), tiny_release.item_id(5)], "k": 4}, {"history": [], "k": 2}]


@dataclass
class Made:
    """A release of a shop of its own, registered and known to the ledger."""

    source: str
    bundle: Path
    version: Version


@pytest.fixture(scope="module")
def made(stack: Settings, tmp_path_factory: pytest.TempPathFactory) -> Made:
    source, store, client = f"shop-{uuid.uuid4().hex[:8]}", ObjectStore.of(stack), mlflow_client(stack)
    bundle = tiny_release.build(tmp_path_factory.mktemp("bundle"), 60)
    run_id = client.create_run(client.create_experiment(source)).info.run_id
    digest = publish(store, bundle, kind="release", meta={"source": source, "run_id": run_id}).digest
    sign(store, digest, stack)
    registry = Registry(client)
    number = registered.register(registry, store, source, digest, tags={})
    registration.gated(Ledger.of(stack), source, digest, version=number, evidence={}, decision=GATE)
    registry.set_alias(source, "challenger", number)
    return Made(source, bundle, registered.find(registry, source, "challenger"))


def expected(made: Made) -> list[dict[str, Any]]:
    release = load_release(made.bundle, digest=made.version.digest, source=made.source)
    answers = [rank(release, question.to_query(release), StageWatch()) for question in read_questions(QUESTIONS)]
    return [
        {"items": describe_chosen(release, answer), "fallback": answer.fallback and str(answer.fallback)}
        for answer in answers
    ]


def test_our_own_loading_answers_as_the_engine(stack: Settings, made: Made) -> None:
    answers = registered.load(stack, made.source, "challenger").predict(QUESTIONS)
    assert answers.to_dict("records") == expected(made)


def test_the_command_checks_a_version_and_writes_it_again(
    stack: Settings, made: Made, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("caravan.cli.release.model.settings", lambda: stack)
    about = ["release", "model", "challenger", "--source", made.source]
    fine = CliRunner().invoke(app, about)
    assert fine.exit_code == 0, fine.output
    assert f"version 1 of {model_name(made.source)} is as Caravan registered it" in fine.output
    (tmp_path / "python_model.pkl").write_bytes(b"\x80\x04.")
    client, folder = mlflow_client(stack), model_files.artifact_path(made.version.digest)
    client.log_artifacts(made.version.run_id, str(tmp_path), folder)
    assert isinstance(CliRunner().invoke(app, about).exception, ModelRefused)
    assert CliRunner().invoke(app, [*about, "--write"]).exit_code == 0
    assert set(Registry(client).files(made.version)) == model_files.FILES


@pytest.fixture
def server(stack: Settings, made: Made, tmp_path: Path) -> Iterator[str]:
    """Run the command that `caravan release model` prints, in the environment that it prints; yield the address."""
    exports = " ".join(model.environment(stack)).replace("export ", "")
    asked = subprocess.run(
        ["bash", "-c", f"env -i {exports} env"], capture_output=True, text=True, check=True
    ).stdout  # what a shell makes of it
    variables = dict(line.split("=", 1) for line in asked.splitlines())
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # as in an activated environment
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    line = next(c for c in model.commands(f"models:/{model_name(made.source)}@challenger") if "serve" in c)
    words = shlex.split(re.sub(r"--port \d+", f"--port {port}", line))
    assert words[0] == "mlflow"
    log = tmp_path / "log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", *words], cwd=tmp_path,
            env={**variables, "PATH": path, "PYTHONPATH": str(REPOSITORY)},
            stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    def answers() -> bool:
        assert process.poll() is None, log.read_text()
        try:
            return httpx.get(f"http://127.0.0.1:{port}/ping", timeout=5, trust_env=False).is_success
        except httpx.HTTPError:
            return False

    try:
        until(answers, 240, every=0.5, otherwise=log.read_text)
        yield f"http://127.0.0.1:{port}/invocations"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def test_mlflow_serves_it_to_whoever_may_read(made: Made, server: str) -> None:
    answer = httpx.post(server, json={"dataframe_records": QUESTIONS}, timeout=60, trust_env=False)
    assert answer.json() == {"predictions": expected(made)}
    wrong = httpx.post(server, json={"dataframe_records": [{"history": [], "k": -1}]}, timeout=60, trust_env=False)
    assert wrong.status_code == 400
    assert "row 0, k" in wrong.text
