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

from contracts.errors import CaravanError
from training.fitting.launch import ATTEMPT, MEETING
from training.fitting.loop import DistributedRank, Trainer
from training.fitting.progress import ProgressBar
from training.jobs import checkpoint, job, lease
from training.jobs.checkpoint import Progress
from training.jobs.lease import Claim


def place(folder: Path) -> DistributedRank:
    """Where torchrun put this process. Joins the others when there are any; on one machine by a file in `folder`."""
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

    Each batch renews the `claim`, and ends a process whose place another one has taken.
    """

    def __init__(self, folder: Path, steps: int, claim: Claim) -> None:
        self._folder, self._steps, self._claim = folder, steps, claim
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
        """Tell of every epoch that has ended since the last call."""
        for entry in progress.curve[self._epochs_told :]:
            self._bar.say(
                f"epoch {entry['epoch'] + 1:.0f} ended after {entry['seconds']:.0f} s: loss {entry['loss']:.4f}, "
                f"validation NDCG@10 {entry['validation_ndcg_at_10']:.4f}"
            )
        if len(progress.curve) > self._epochs_told:
            checkpoint.write(self._folder / job.CURVE, job.to_json(progress.curve), allowed=self._claim.demand)
        self._epochs_told = len(progress.curve)

    def say(self, line: str) -> None:
        self._bar.say(line)


def train(path: Path, where: DistributedRank, claim: Claim | None) -> None:
    """Run the job at `path` to its end and write its result; the first of several processes has the `claim`."""
    recipe, data, key = job.read(path)
    folder = path.parent
    if claim is None:
        Trainer(recipe, data, folder, key=key, place=where).fit(lambda *_: None)
        return
    trainer = Trainer(recipe, data, folder, key=key, place=where, allowed=claim.demand)
    claim.renew()
    report = Reporter(folder, trainer.steps, claim)
    parameters = sum(p.numel() for p in trainer.model.parameters())
    loss = f"full softmax over {len(trainer.touched):,} items" if trainer.full else "shared negatives"
    report.say(
        f"{parameters:,} parameters, {len(data.items):,} interactions, {loss}, "
        f"{where.world} process(es) on {where.device.type}, {torch.get_num_threads()} threads each; "
        f"{trainer.steps:,} steps from {'the weights of the champion' if data.start else 'nothing'}"
    )
    if trainer.progress.step:
        report.say(f"resumes at epoch {trainer.progress.epoch + 1}, step {trainer.progress.step}")
    progress = trainer.fit(report)
    report.epochs(progress)
    result = folder / f".{job.RESULT}-{claim.number}"
    result.mkdir(exist_ok=True)
    if progress.best_epoch + 1 < progress.epoch:
        report.say(f"overfits: the weights of epoch {progress.best_epoch + 1} answer the validation questions better")
    weights = {name: value.cpu().contiguous() for name, value in trainer.best.items()}
    checkpoint.write(result / job.WEIGHTS, to_bytes(weights))
    checkpoint.write(result / job.CONFIG, job.to_json(trainer.model.config.to_dict()))
    checkpoint.write(result / job.CURVE, job.to_json(progress.curve))
    metrics = {
        "validation_ndcg_at_10": progress.best_metric,
        "best_epoch": progress.best_epoch + 1,
        "epochs": progress.epoch,
        "steps": progress.step,
        "train_seconds": progress.seconds,
        "train_loss": progress.curve[-1]["loss"],
        "padding": progress.curve[-1]["padding"],
        "parameters": sum(p.numel() for p in trainer.model.parameters()),
        "full_softmax": float(trainer.full),
        "events_per_second": len(data.items) * progress.epoch / max(1e-9, progress.seconds),
    }
    checkpoint.write(result / job.METRICS, job.to_json(metrics))
    claim.demand()
    shutil.rmtree(folder / job.RESULT, ignore_errors=True)
    result.rename(folder / job.RESULT)  # whole, or not there


def orphaned() -> bool:
    """Whether torchrun was killed while torch was loaded here: nobody would end this process either."""
    parent = psutil.Process().parent()
    return MEETING in os.environ and (parent is None or "torch.distributed.run" not in parent.cmdline())


def main() -> int:
    parser = argparse.ArgumentParser(prog="training.fitting.main", description="Train one job, or go on with it.")
    parser.add_argument("--job", type=Path, required=True, help="job.json, see training.jobs.job")
    parser.add_argument("--lease", type=float, default=60.0, help="seconds after which a silent holder is replaced")
    given = parser.parse_args()
    path: Path = given.job.resolve()
    if orphaned():
        return 1
    where = place(path.parent)
    claim: Claim | None = None
    try:
        if where.rank == 0:  # an earlier attempt may still be at work: two must never write one checkpoint
            attempt = os.environ.get(ATTEMPT, "")
            claim = lease.take(path.parent, lasts=given.lease, attempt=attempt, say=ProgressBar().say)
        if where.world > 1:
            torch.distributed.barrier()
        if not (path.parent / job.RESULT / job.METRICS).exists():  # it may have come while this one waited
            train(path, where, claim)
    except CaravanError as error:
        checkpoint.write(
            path.parent / f"error-{os.environ.get(ATTEMPT, '')}.txt", f"{type(error).__name__}\n{error}".encode()
        )
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
