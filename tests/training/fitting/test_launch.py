"""torchrun: the command for one and for many, two processes that agree, errors that reach the parent."""

from __future__ import annotations

import io
import json
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file

from contracts.errors import SettingsError, TrainingError
from contracts.settings import read_settings
from tests.training import builders
from training import recipes
from training.fitting import launch
from training.fitting.progress import ProgressBar
from training.jobs import job


def test_one_node_stands_alone_and_several_meet(tmp_path: Path) -> None:
    alone = launch.command(read_settings(training_processes=2), tmp_path / "job.json", tmp_path)
    assert alone[1:5] == ["-m", "torch.distributed.run", "--nproc-per-node", "2"]
    assert alone[alone.index("--nnodes") + 1] == "1"
    nodes = read_settings(training_nodes=3, training_rendezvous="trainer-0:29400")
    many = launch.command(nodes, tmp_path / "job.json", tmp_path)
    assert many[many.index("--nnodes") + 1] == "3"
    assert many[many.index("--rdzv-endpoint") + 1] == "trainer-0:29400"
    with pytest.raises(TrainingError, match="place to meet"):
        launch.command(read_settings(training_nodes=3), tmp_path / "job.json", tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_training_opens_no_port_to_the_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processes: int) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    path = job.write(tmp_path / "job", builders.recipe(max_epochs=2), builders.data(count=50), key="ports")
    seen, reached = 0, set()

    def look(_line: str) -> None:
        nonlocal seen
        children = psutil.Process().children(recursive=True)
        seen = max(seen, len(children))
        for child in children:
            with suppress(psutil.NoSuchProcess):
                reached.update(c.laddr.ip for c in child.net_connections("inet") if c.status == psutil.CONN_LISTEN)

    launch.run(read_settings(home=tmp_path, training_processes=processes), path, say=look)
    assert seen > processes
    assert {ip.removeprefix("::ffff:") for ip in reached} <= {"127.0.0.1", "::1"}


@pytest.mark.slow
def test_two_processes_learn_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    recipe = builders.recipe(max_epochs=3, learning_rate=0.02, batch_tokens=100)
    path = job.write(tmp_path / "job", recipe, builders.data(count=200), key="two")
    lines: list[str] = []
    result = launch.run(read_settings(home=tmp_path, training_processes=2), path, say=lines.append)
    assert any("2 process(es)" in line for line in lines)
    assert not [line for line in lines if "torch/distributed" in line], "torchrun warns of how it was started"
    curve = json.loads((result / job.CURVE).read_text())
    assert curve[-1]["validation_ndcg_at_10"] > 0.5
    assert all(bool(torch.isfinite(t).all()) for t in load_file(result / job.WEIGHTS).values())


@pytest.mark.slow
def test_the_childs_error_reaches_the_parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    path = job.write(tmp_path / "job", builders.recipe(), builders.data(), key="broken")
    (tmp_path / "job" / job.DATA).write_bytes(b"not safetensors")
    with pytest.raises(TrainingError, match=r"job.json cannot be read"):
        launch.run(read_settings(home=tmp_path), path, say=lambda _: None)


def test_a_log_gets_lines_and_a_terminal_a_bar() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    log, terminal = io.StringIO(), Terminal()
    for stream in (log, terminal):
        bar = ProgressBar(stream)
        for done in range(1, 101):
            bar.step("epoch 1/2", done, 100, 1.5, 10)
        bar.say("done")
    assert log.getvalue().count("\n") == 2  # one for the last batch: a hundred batches took less than an interval
    assert "100/100  loss 1.5000" in log.getvalue()
    assert terminal.getvalue().endswith("\r\x1b[Kdone\n")


def test_recipes_are_checked_and_named() -> None:
    assert recipes.names()[0] == "default"
    for name in recipes.names():
        recipe = recipes.get(name)
        assert recipe.name == name
        assert recipes.Recipe.from_dict(recipe.to_dict()) == recipe
    assert len({recipes.get(name).digest for name in recipes.names()}) == len(recipes.names())
    with pytest.raises(SettingsError, match="choose one of default"):
        recipes.get("{{7*7}}")
    with pytest.raises(SettingsError, match="multiple of heads"):
        builders.recipe(dim=10, heads=3)
