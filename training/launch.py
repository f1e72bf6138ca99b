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
import uuid
from collections.abc import Callable
from pathlib import Path

from contracts.errors import TrainingError
from contracts.settings import Settings
from training import job

#: Tell the processes of one machine the name of the file in which they meet.
MEETING = "CARAVAN_TRAINING_MEETING"
ROOT = Path(__file__).resolve().parent.parent


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
    return [*start, "-m", "training.main", "--job", str(path)]


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
    epoch. A job that is done is not started again. Raises TrainingError with the child's last words.
    """
    result = path.parent / job.RESULT
    if (result / job.METRICS).exists():
        return result
    error = path.parent / "error.txt"
    error.unlink(missing_ok=True)
    scratch = tempfile.mkdtemp(prefix="caravan-training-")  # torchrun leaves files behind in every run
    child = subprocess.Popen(
        command(s, path, Path(scratch)), env={**environment(s), "TMPDIR": scratch}, cwd=ROOT, text=True,
        stdout=subprocess.PIPE if say else None, stderr=subprocess.STDOUT if say else None,
    )  # fmt: skip
    last: list[str] = []
    try:
        for line in child.stdout or ():
            last = [*last[-19:], line.rstrip()]
            if say:
                say(line.rstrip())
            if on_curve and " ended after " in line:
                _tell(path.parent / job.CURVE, on_curve)
        code = child.wait()
    finally:
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
    if code != 0 or not (result / job.METRICS).exists():
        words = error.read_text() if error.exists() else "\n".join(last)
        raise TrainingError(
            f"training ended with code {code}: {words or 'see above'}",
            remedy="run it again: it goes on from its last checkpoint",
        )
    if on_curve:
        _tell(result / job.CURVE, on_curve)
    return result


def _tell(path: Path, on_curve: Callable[[list[dict[str, float]]], object]) -> None:
    if path.exists():
        on_curve(json.loads(path.read_text()))
