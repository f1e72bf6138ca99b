"""torchrun: the command for one and for many, two processes that agree, errors that reach the parent."""

from __future__ import annotations

import io
import json
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file

from contracts.error_record import ErrorRecord
from contracts.errors import SettingsError, TakenOver, TrainingError
from contracts.settings import read_settings
from tests.training import builders
from training import recipes
from training.fitting import launch
from training.fitting.progress import ProgressBar
from training.fitting.records import EpochEnded
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
    path = job.write_job(tmp_path / "job", builders.recipe(max_epochs=2), builders.data(count=50), key="ports")
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
    path = job.write_job(tmp_path / "job", recipe, builders.data(count=200), key="two")
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
    path = job.write_job(tmp_path / "job", builders.recipe(), builders.data(), key="broken")
    (tmp_path / "job" / job.DATA).write_bytes(b"not safetensors")
    with pytest.raises(TrainingError, match=r"job.json cannot be read"):
        launch.run(read_settings(home=tmp_path), path, say=lambda _: None)


#: A trainer without a network: two epochs and a result, or an error.
TRAINER = """
import json, os, sys
from pathlib import Path
from contracts import errors
from contracts.error_record import ErrorRecord
from training.fitting.records import EpochEnded, failure_file
from training.jobs import job, lease

folder, kind, attempt = Path(sys.argv[1]), sys.argv[2], os.environ["CARAVAN_TRAINING_ATTEMPT"]
lease.take(folder, lasts=60, attempt=attempt, say=print)
if kind:
    failure = ErrorRecord.of(getattr(errors, kind)("it was a -> b", remedy="turn it -> round"))
    failure_file(folder, attempt).write_text(failure.to_json())
    sys.exit(1)
print("a line of another library, {}, and of none: 12", flush=True)
curve = []
for epoch in range(2):
    curve.append({"epoch": epoch, "seconds": 3.0, "loss": 0.5, job.VALIDATION: 0.25})
    (folder / "new").write_text(json.dumps(curve))
    (folder / "new").replace(folder / job.CURVE)
    print(EpochEnded.of(curve[-1]).to_json(), flush=True)
(folder / job.RESULT).mkdir()
(folder / job.RESULT / job.METRICS).write_text("{}")
"""


def trainer(monkeypatch: pytest.MonkeyPatch, folder: Path, error: str = "") -> None:
    words = [sys.executable, "-c", TRAINER, str(folder), error]
    monkeypatch.setattr(launch, "command", lambda *_, **__: words)


@pytest.mark.parametrize("words", ["epoch 1 ended after 3 s: loss 0.5000, validation NDCG@10 0.2500", "Runde vorbei"])
def test_the_curve_comes_in_whatever_the_sentence_about_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    trainer(monkeypatch, tmp_path)
    if "NDCG" not in words:
        monkeypatch.setattr(EpochEnded, "__str__", lambda _: words)
    lines: list[str] = []
    lengths: list[int] = []
    launch.run(
        read_settings(home=tmp_path), tmp_path / job.JOB, say=lines.append,
        on_curve=lambda curve: lengths.append(len(curve)),
    )  # fmt: skip
    assert lines[:2] == ["a line of another library, {}, and of none: 12", words]
    assert len(lines) == 3
    assert (len(lengths), lengths[-1]) == (2, 2)


@pytest.mark.parametrize(
    ("error", "kind", "what"),
    [
        ("TakenOver", TakenOver, "it was a -> b"),
        ("TrainingError", TrainingError, "training ended with code 1: it was a -> b -> turn it -> round"),
        ("SettingsError", TrainingError, "training ended with code 1: it was a -> b -> turn it -> round"),
    ],
)
def test_the_childs_error_keeps_its_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: str, kind: type[TrainingError], what: str
) -> None:
    trainer(monkeypatch, tmp_path, error)
    with pytest.raises(TrainingError) as caught:
        launch.run(read_settings(home=tmp_path), tmp_path / job.JOB, say=lambda _: None)
    assert type(caught.value) is kind
    assert caught.value.what == what
    assert caught.value.remedy == ("turn it -> round" if kind is TakenOver else launch.GOES_ON)


def test_a_record_comes_back_as_it_was_and_no_other_line_is_one() -> None:
    ended = EpochEnded(epoch=3, seconds=12.5, loss=0.25, validation_ndcg=1.0)
    failure = ErrorRecord.of(TakenOver("line 1\nline 2 -> \u4e2d", remedy=""))
    assert EpochEnded.from_json(ended.to_json()) == ended
    assert ErrorRecord.from_json(failure.to_json()) == failure
    assert "\n" not in failure.to_json()
    for line in ("", "12", "null", "[1]", "{}", '{"kind": "other"}', str(ended), failure.to_json()):
        assert EpochEnded.from_json(line) is None


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
