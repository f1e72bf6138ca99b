"""Start torchrun for a job, follow it, and never leave it behind.

Training runs in a child process always: task processes are forked, where CUDA fails and threads may too.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

from contracts.errors import TakenOver, TrainingError
from contracts.settings import Settings
from training.jobs import job, lease

#: Tell the processes of one machine the name of the file in which they meet.
MEETING = "CARAVAN_TRAINING_MEETING"
#: Names one start of the trainer, so that its starter knows whether another one has taken over since.
ATTEMPT = "CARAVAN_TRAINING_ATTEMPT"
#: Leases without a word or a sign of life after which a trainer is ended; people hear of it after one.
PATIENCE = 10
ROOT = Path(__file__).resolve().parents[2]


def command(s: Settings, path: Path, scratch: Path) -> list[str]:
    """The torchrun command for the job at `path`: one node alone, or one of several that meet at a rendezvous.

    One node's torchrun keeps a file in the folder `scratch`.
    """
    start = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(s.training_processes)]
    if s.training_nodes > 1:
        if not s.training_rendezvous:
            raise TrainingError(
                "several training nodes need a place to meet", remedy="set CARAVAN_TRAINING_RENDEZVOUS to host:port"
            )
        start += ["--nnodes", str(s.training_nodes), "--rdzv-backend", "c10d"]
        start += ["--rdzv-endpoint", s.training_rendezvous, "--rdzv-id", path.parent.name[:16]]
    else:  # they meet in a file: a port for that would be open to the whole network, and torch believes what comes in
        start += ["--nnodes", "1", "--rdzv-backend", "c10d", "--rdzv-conf", "store_type=file"]
        start += ["--rdzv-endpoint", str(scratch / "rendezvous")]  # unnamed, torchrun warns of its default address
    return [*start, "-m", "training.fitting.main", "--job", str(path), "--lease", str(s.training_lease)]


def environment(s: Settings) -> dict[str, str]:
    """The child's environment: its share of the cores, and threads that wait without burning them."""
    threads = max(1, len(os.sched_getaffinity(0)) // s.training_processes)
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    alone = {
        "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1", "GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo",
        MEETING: uuid.uuid4().hex,
    }  # fmt: skip
    return {
        **os.environ,
        **(alone if s.training_nodes == 1 else {}),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads)),
        "OMP_WAIT_POLICY": "passive",
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONUNBUFFERED": "1",
        ATTEMPT: uuid.uuid4().hex,
        "TORCH_CPP_LOG_LEVEL": "ERROR",
    }


def run(
    s: Settings,
    path: Path,
    *,
    say: Callable[[str], object] | None = None,
    on_curve: Callable[[list[dict[str, float]]], object] | None = None,
) -> Path:
    """Train the job at `path` in a child process; returns the folder of its result.

    Lines of the child go to `say`, or straight to this process's output; on_curve hears the curve after every
    epoch. A job that is done is not started again. Raises TrainingError with the child's last words, or when it gives
    no sign of life for long, and TakenOver when another process has taken its place.
    """
    result = path.parent / job.RESULT
    if (result / job.METRICS).exists():
        return result
    variables = environment(s)
    error = path.parent / f"error-{variables[ATTEMPT]}.txt"
    scratch = tempfile.mkdtemp(prefix="caravan-training-")  # torchrun leaves files behind in every run
    child = subprocess.Popen(
        command(s, path, Path(scratch)), env={**variables, "TMPDIR": scratch}, cwd=ROOT, text=True,
        stdout=subprocess.PIPE if say else None, stderr=subprocess.STDOUT if say else None,
    )  # fmt: skip
    last: list[str] = []
    watch = _Watch(child, path.parent, s.training_lease, say or print)
    watch.start()
    try:
        for line in child.stdout or ():
            watch.heard()
            last = [*last[-19:], line.rstrip()]
            if say:
                say(line.rstrip())
            if on_curve and " ended after " in line:
                _tell(path.parent / job.CURVE, on_curve)
        code = child.wait()
    finally:
        watch.done.set()
        if child.stdout:
            child.stdout.close()
        if child.poll() is None:
            child.terminate()  # torchrun passes it on to its workers
            try:
                child.wait(timeout=20)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        shutil.rmtree(scratch, ignore_errors=True)
    if watch.gave_up:
        raise TrainingError(watch.gave_up, remedy="run it again: it goes on from its last checkpoint")
    if code != 0 or not (result / job.METRICS).exists():
        kind, _, words = error.read_text().partition("\n") if error.exists() else ("", "", "\n".join(last))
        if kind == TakenOver.__name__:
            what, _, remedy = words.partition(" -> ")
            raise TakenOver(what, remedy=remedy)
        raise TrainingError(
            f"training ended with code {code}: {words or 'see above'}",
            remedy="run it again: it goes on from its last checkpoint",
        )
    held = lease.newest(path.parent)
    if held is None or held.holder.attempt != variables[ATTEMPT]:
        raise TakenOver(
            "another process has taken this training over; this one publishes nothing",
            remedy="nothing is due: the other one goes on",
        )
    if on_curve:
        _tell(result / job.CURVE, on_curve)
    return result


class _Watch(threading.Thread):
    """Says when the trainer has been silent for long, and ends it when it stays silent: it may have been stopped."""

    def __init__(self, child: subprocess.Popen[str], folder: Path, lasts: float, say: Callable[[str], object]) -> None:
        super().__init__(name="trainer", daemon=True)
        self.done = threading.Event()
        self.gave_up = ""
        self._child, self._folder, self._lasts, self._say = child, folder, lasts, say
        self.heard()

    def heard(self) -> None:
        """The trainer has said something."""
        self._heard = self._told = time.monotonic()

    def run(self) -> None:
        sign: tuple[int, int] | None = None
        while not self.done.wait(min(1.0, self._lasts / 5)):
            found = lease.newest(self._folder)
            if found is not None and (found.number, found.sign) != sign:
                sign = found.number, found.sign
                self.heard()
            silent = time.monotonic() - self._heard
            if silent >= PATIENCE * self._lasts:
                self.gave_up = f"the trainer (process {self._child.pid}) gave no sign of life for {silent:.0f} s"
                self._say(f"{self.gave_up}: it is ended")
                self._end()
                return
            if time.monotonic() - self._told >= self._lasts:
                self._told = time.monotonic()
                self._say(f"the trainer (process {self._child.pid}) has given no sign of life for {silent:.0f} s")

    def _end(self) -> None:
        """Kill torchrun and its workers: what is stopped hears nothing else."""
        with suppress(psutil.NoSuchProcess):
            everyone = psutil.Process(self._child.pid)
            for process in (*everyone.children(recursive=True), everyone):
                with suppress(psutil.NoSuchProcess):
                    process.kill()


def _tell(path: Path, on_curve: Callable[[list[dict[str, float]]], object]) -> None:
    if path.exists():
        on_curve(json.loads(path.read_text()))
