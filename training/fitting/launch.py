"""Starts torchrun for a job, follows it, and never leaves it behind.

Training runs in a child process always: task processes are forked, where CUDA fails and threads may too.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

import psutil

from contracts.error_record import ErrorRecord
from contracts.errors import TakenOver, TrainingError
from contracts.settings import Settings
from training.fitting.records import EpochEnded, failure_file
from training.jobs import job, lease

#: entries of the curve, one per finished epoch -> anything
OnCurve = Callable[[list[dict[str, float]]], object]

#: Tells the processes of one machine the name of the file in which they meet.
MEETING = "CARAVAN_TRAINING_MEETING"
#: Names one start of the trainer, so that its starter knows whether another one has taken over since.
ATTEMPT = "CARAVAN_TRAINING_ATTEMPT"
#: Leases without a word or a sign of life after which a trainer is ended; people hear of it after one.
SILENCE_LIMIT_LEASES = 10
#: Longest wait for torchrun and its workers to end when asked to.
TERMINATE_TIMEOUT_S = 20
#: Lines of the trainer that an error quotes where the trainer left none of its own.
QUOTED_LINES = 20
GOES_ON = "run it again: it goes on from its last checkpoint"
ROOT = Path(__file__).resolve().parents[2]


def command(s: Settings, path: Path, scratch: Path, *, records: bool = False) -> list[str]:
    """Return the torchrun command for the job at `path`: one node alone, or one of several that meet at a rendezvous.

    One node's torchrun keeps a file in the folder `scratch`. `records`: epochs come as training.fitting.records.
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
    job_options = ["--job", str(path), "--lease", str(s.training_lease), *(["--records"] if records else [])]
    return [*start, "-m", "training.fitting.main", *job_options]


def environment(s: Settings) -> dict[str, str]:
    """Return the child's environment: its share of the cores, and threads that wait without burning them."""
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
    s: Settings, path: Path, *, say: Callable[[str], object] | None = None, on_curve: OnCurve | None = None
) -> Path:
    """Train the job at `path` in a child process; return the folder of its result.

    Lines of the child go to `say`, or straight to this process's output; with `say`, `on_curve` gets the curve after
    every epoch, and without it at the end. A job that is done is not started again. Raises TrainingError with the
    child's own error or last lines, or when it gives no sign of life for long, and TakenOver when another process has
    taken its place.
    """
    folder = path.parent
    result = folder / job.RESULT
    if _done(folder):
        return result
    variables = environment(s)
    attempt = variables[ATTEMPT]
    with (
        _started(s, path, variables, piped=say is not None) as child,
        _Watch(child, folder, s.training_lease, say or print) as watch,
    ):
        last = _follow(child, folder, watch, say, on_curve)
        code = child.wait()
    if watch.gave_up:
        raise TrainingError(watch.gave_up, remedy=GOES_ON)
    if code != 0 or not _done(folder):
        raise _reason(failure_file(folder, attempt), code, last)
    _demand_newest(folder, attempt)
    if on_curve:
        _tell(result / job.CURVE, on_curve)
    return result


def _done(folder: Path) -> bool:
    return (folder / job.RESULT / job.METRICS).exists()


@contextmanager
def _started(s: Settings, path: Path, variables: dict[str, str], *, piped: bool) -> Iterator[subprocess.Popen[str]]:
    """Start torchrun, and end it if it still runs when the block is left."""
    # a folder of its own: torchrun leaves files behind in every run
    with tempfile.TemporaryDirectory(prefix="caravan-training-", ignore_cleanup_errors=True) as scratch:
        child = subprocess.Popen(
            command(s, path, Path(scratch), records=piped), env={**variables, "TMPDIR": scratch}, cwd=ROOT, text=True,
            stdout=subprocess.PIPE if piped else None, stderr=subprocess.STDOUT if piped else None,
        )  # fmt: skip
        try:
            yield child
        finally:
            if child.stdout:
                child.stdout.close()
            if child.poll() is None:
                child.terminate()  # torchrun passes it on to its workers
                try:
                    child.wait(timeout=TERMINATE_TIMEOUT_S)
                except subprocess.TimeoutExpired:
                    child.kill()
                    child.wait()


def _follow(
    child: subprocess.Popen[str], folder: Path, watch: _Watch, say: Callable[[str], object] | None,
    on_curve: OnCurve | None,
) -> Sequence[str]:  # fmt: skip
    """Pass on what the child writes until it writes no more, records as sentences; return the last lines."""
    last: deque[str] = deque(maxlen=QUOTED_LINES)
    for written in child.stdout or ():
        watch.heard()
        ended = EpochEnded.from_json(written)
        line = written.rstrip() if ended is None else str(ended)
        last.append(line)
        if say:
            say(line)
        if on_curve and ended is not None:
            _tell(folder / job.CURVE, on_curve)
    return last


def _reason(left: Path, code: int, last: Sequence[str]) -> TrainingError:
    """Return the error that ended the child: the one that it `left`, else its `last` lines. TakenOver stays itself."""
    record = ErrorRecord.from_json(left.read_text()) if left.exists() else None
    error = record.raised() if record else None
    if isinstance(error, TakenOver):
        return error
    words = str(error) if error else "\n".join(last)
    return TrainingError(f"training ended with code {code}: {words or 'see above'}", remedy=GOES_ON)


def _demand_newest(folder: Path, attempt: str) -> None:
    """Raise TakenOver unless the newest claim of `folder` is of this start of the trainer."""
    held = lease.newest(folder)
    if held is None or held.holder.attempt != attempt:
        raise TakenOver(
            "another process has taken this training over; this one publishes nothing",
            remedy="nothing to do: the other process goes on",
        )


class _Watch(threading.Thread):
    """Reports a trainer that has been silent for long, and ends one that stays silent: it may have been stopped."""

    def __init__(self, child: subprocess.Popen[str], folder: Path, lasts: float, say: Callable[[str], object]) -> None:
        super().__init__(name="trainer", daemon=True)
        self.done = threading.Event()
        self.gave_up = ""
        self._child, self._folder, self._lasts, self._say = child, folder, lasts, say
        self.heard()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.done.set()

    def heard(self) -> None:
        """Note that the trainer has said something."""
        self._heard = self._told = time.monotonic()

    def run(self) -> None:
        sign: tuple[int, int] | None = None
        while not self.done.wait(min(1.0, self._lasts / 5)):
            found = lease.newest(self._folder)
            if found is not None and (found.number, found.sign) != sign:
                sign = found.number, found.sign
                self.heard()
            silent = time.monotonic() - self._heard
            if silent >= SILENCE_LIMIT_LEASES * self._lasts:
                self.gave_up = f"the trainer (process {self._child.pid}) gave no sign of life for {silent:.0f} s"
                self._say(f"{self.gave_up}: it is ended")
                self._end()
                return
            if time.monotonic() - self._told >= self._lasts:
                self._told = time.monotonic()
                self._say(f"the trainer (process {self._child.pid}) has given no sign of life for {silent:.0f} s")

    def _end(self) -> None:
        """Kill torchrun and its workers: a stopped process reacts to nothing else."""
        with suppress(psutil.NoSuchProcess):
            everyone = psutil.Process(self._child.pid)
            for process in (*everyone.children(recursive=True), everyone):
                with suppress(psutil.NoSuchProcess):
                    process.kill()


def _tell(path: Path, on_curve: OnCurve) -> None:
    if path.exists():
        on_curve(json.loads(path.read_text()))
