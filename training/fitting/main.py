"""Runs one training job, started by torchrun: `python -m torch.distributed.run … -m training.fitting.main --job …`.

Killed at any point, it goes on from its last checkpoint when it is started again on the same job.
"""
# ruff: noqa: TID253  (torch code, in a process of its own)

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path

import psutil
import torch
from safetensors.torch import save as to_bytes

from contracts.error_record import ErrorRecord
from contracts.errors import CaravanError
from training.fitting.launch import ATTEMPT, MEETING
from training.fitting.loop import DistributedRank, Trainer
from training.fitting.progress import ProgressBar
from training.fitting.records import EpochEnded, failure_file
from training.jobs import checkpoint, job, lease
from training.jobs.checkpoint import Progress
from training.jobs.lease import Claim


def join(folder: Path) -> DistributedRank:
    """Join the other processes that torchrun started, if there are any, and return the place of this one.

    On one machine they meet in a file in `folder`.
    """
    world, number = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    if world > 1:
        backend = "nccl" if device.type == "cuda" else "gloo"
        if meeting := os.environ.get(MEETING):
            name = f"meeting-{meeting}-{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}"
            store = torch.distributed.FileStore(str(folder / name), world)  # type: ignore[attr-defined]
            torch.distributed.init_process_group(backend, store=store, rank=number, world_size=world)
        else:
            torch.distributed.init_process_group(backend)
    return DistributedRank(device=device, rank=number, world=world)


class Reporter:
    """Tells people and the parent process how training goes; ends a process whose parent has died.

    Each batch renews the `claim`, and ends a process whose place another one has taken. With `records`, epochs are
    written as records for the parent process, which makes sentences of them.
    """

    def __init__(self, folder: Path, steps: int, claim: Claim, *, records: bool) -> None:
        self._folder, self._steps, self._claim, self._records = folder, steps, claim, records
        self._bar = ProgressBar()
        self._parent = os.getppid()
        self._epochs_told = 0

    def __call__(self, progress: Progress, loss: float, batches: int, events: int) -> None:
        if os.getppid() != self._parent:
            sys.exit("the process that started this one is gone")
        self._claim.renew()
        self.epochs(progress)
        self._bar.step(
            f"step {progress.step}/{self._steps}, epoch {progress.epoch + 1}", progress.batch, batches, loss, events
        )

    def epochs(self, progress: Progress) -> None:
        """Tell of every epoch that has ended since the last call; the curve is written first, to be read then."""
        if len(progress.curve) == self._epochs_told:
            return
        checkpoint.write_file(self._folder / job.CURVE, job.to_json(progress.curve), allowed=self._claim.demand)
        for entry in progress.curve[self._epochs_told :]:
            ended = EpochEnded.of(entry)
            self._bar.say(ended.to_json() if self._records else str(ended))
        self._epochs_told = len(progress.curve)

    def say(self, line: str) -> None:
        self._bar.say(line)


def train(path: Path, where: DistributedRank, claim: Claim | None, *, records: bool) -> None:
    """Run the job at `path` to its end and write its result; the first of several processes has the `claim`."""
    recipe, data, key = job.read_job(path)
    folder = path.parent
    if claim is None:
        Trainer(recipe, data, folder, key=key, place=where).fit(lambda *_: None)
        return
    trainer = Trainer(recipe, data, folder, key=key, place=where, allowed=claim.demand)
    claim.renew()
    report = Reporter(folder, trainer.steps, claim, records=records)
    report.say(_introduction(trainer))
    if trainer.progress.step:
        report.say(f"resumes at epoch {trainer.progress.epoch + 1}, step {trainer.progress.step}")
    progress = trainer.fit(report)
    report.epochs(progress)
    if progress.best_epoch + 1 < progress.epoch:
        report.say(f"overfits: the weights of epoch {progress.best_epoch + 1} answer the validation questions better")
    _write_result(trainer, folder, claim)


def _introduction(trainer: Trainer) -> str:
    data, where = trainer.data, trainer.place
    loss = f"full softmax over {len(trainer.touched):,} items" if trainer.full else "shared negatives"
    return (
        f"{_parameters(trainer):,} parameters, {len(data.items):,} interactions, {loss}, "
        f"{where.world} process(es) on {where.device.type}, {torch.get_num_threads()} threads each; "
        f"{trainer.steps:,} steps from {'the weights of the champion' if data.start else 'nothing'}"
    )


def _write_result(trainer: Trainer, folder: Path, claim: Claim) -> None:
    """Write weights, shape, curve and figures into the job's result folder: whole, or not there."""
    progress = trainer.progress
    result = folder / f".{job.RESULT}-{claim.number}"
    result.mkdir(exist_ok=True)
    weights = {name: value.cpu().contiguous() for name, value in trainer.best.items()}
    checkpoint.write_file(result / job.WEIGHTS, to_bytes(weights))
    checkpoint.write_file(result / job.CONFIG, job.to_json(trainer.model.config.to_dict()))
    checkpoint.write_file(result / job.CURVE, job.to_json(progress.curve))
    metrics = {
        job.VALIDATION: progress.best_metric,
        "best_epoch": progress.best_epoch + 1,
        "epochs": progress.epoch,
        "steps": progress.step,
        "train_seconds": progress.seconds,
        "train_loss": progress.curve[-1]["loss"],
        "padding": progress.curve[-1]["padding"],
        "parameters": _parameters(trainer),
        "full_softmax": float(trainer.full),
        "events_per_second": len(trainer.data.items) * progress.epoch / max(1e-9, progress.seconds),
    }
    checkpoint.write_file(result / job.METRICS, job.to_json(metrics))
    claim.demand()
    shutil.rmtree(folder / job.RESULT, ignore_errors=True)
    result.rename(folder / job.RESULT)


def _parameters(trainer: Trainer) -> int:
    return sum(p.numel() for p in trainer.model.parameters())


def orphaned() -> bool:
    """Say whether torchrun was killed while torch was loaded here: nothing would end this process either."""
    parent = psutil.Process().parent()
    return MEETING in os.environ and (parent is None or "torch.distributed.run" not in parent.cmdline())


def main() -> int:
    parser = argparse.ArgumentParser(prog="training.fitting.main", description="Train one job, or go on with it.")
    parser.add_argument("--job", type=Path, required=True, help="job.json, see training.jobs.job")
    parser.add_argument("--lease", type=float, default=60.0, help="seconds after which a silent holder is replaced")
    parser.add_argument("--records", action="store_true", help="write epochs as records: a program reads the output")
    given = parser.parse_args()
    path: Path = given.job.resolve()
    attempt = os.environ.get(ATTEMPT, "")
    if orphaned():
        return 1
    where = join(path.parent)
    claim: Claim | None = None
    try:
        if where.rank == 0:  # an earlier attempt may still be at work: two must never write one checkpoint
            claim = lease.take(path.parent, lasts=given.lease, attempt=attempt, say=ProgressBar().say)
        if where.world > 1:
            torch.distributed.barrier()
        if not (path.parent / job.RESULT / job.METRICS).exists():  # it may have come while this one waited
            train(path, where, claim, records=given.records)
    except CaravanError as error:
        checkpoint.write_file(failure_file(path.parent, attempt), ErrorRecord.of(error).to_json().encode())
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 1
    finally:
        if claim is not None:
            claim.give_back()
        if where.world > 1:
            torch.distributed.destroy_process_group()
    return 0


if __name__ == "__main__":
    sys.exit(main())
