"""Trains a model on packed batches; the schedule counts steps, and an interrupted run resumes exactly.

The weights at the end of the schedule are the result. Taking the epoch that validated best instead would be a draw
among noisy figures: two nights of an unchanging shop then differ by 4.6 % (root mean square), and by 1.9 % at the
end of the schedule (docs/nightly.md). Only where the validation questions show overfitting beyond chance, the best
epoch is kept.
"""
# ruff: noqa: TID253  (torch code)

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from contracts.errors import TrainingError
from retrieval.metrics import Values
from training.data.datasets import Ints
from training.data.packing import Batch, PackedBatches, segments
from training.data.training_data import TrainingData
from training.fitting import warm_start
from training.fitting.validation import overfits, validation_ndcg
from training.jobs import checkpoint
from training.jobs.checkpoint import Progress
from training.jobs.job import VALIDATION
from training.models.losses import cross_entropy, shared_negatives
from training.models.sequence import SequenceConfig, SequenceModel
from training.recipes import Recipe


@dataclass(frozen=True)
class DistributedRank:
    """The device of this process, and its number among all processes."""

    device: torch.device
    rank: int = 0
    world: int = 1

    def autocast(self) -> AbstractContextManager[object]:
        """Compute in bf16 where the device is faster with it; a CPU without bf16 units is not."""
        if self.device.type == "cuda" and torch.cuda.is_bf16_supported():
            return torch.autocast("cuda", dtype=torch.bfloat16)
        return nullcontext()


#: The best epoch's answers to the validation questions, beside its weights in a checkpoint.
ANSWERS = "validation answers"


class _Step(nn.Module):
    """One batch to one loss, as a module, so that DDP sees a single forward."""

    def __init__(self, model: SequenceModel) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, items: Tensor, positions: Tensor, marks: Tensor, where: Tensor, candidates: Tensor, column: Tensor,
        bias: Tensor | None,
    ) -> Tensor:  # fmt: skip
        keep_id = self.model.dropped_ids()
        order = torch.arange(items.shape[1], device=items.device)
        mask = (order[None, :] <= order[:, None])[None] & (marks[:, :, None] == marks[:, None, :])
        hidden = self.model.encode(items, positions, mask[:, None], keep_id)
        queries = self.model.query(hidden.reshape(-1, hidden.shape[-1])[where])
        return cross_entropy(queries, self.model.item_vectors(candidates, keep_id), column, bias=bias)


def build_model(recipe: Recipe, data: TrainingData) -> SequenceModel:
    """Build the recipe's model for these data, initialized by the recipe's seed, or with the weights to start from."""
    touched = np.zeros(data.item_count, dtype=bool)
    touched[data.items - 1] = True
    use_text = recipe.text and data.text is not None
    config = SequenceConfig(
        items=data.item_count, dim=recipe.dim, layers=recipe.layers, heads=recipe.heads,
        feedforward=recipe.feedforward, max_length=recipe.max_length, dropout=recipe.dropout, cosine=recipe.cosine,
        own_vectors=recipe.own_vectors,
        text_dim=data.text.shape[1] if use_text and data.text is not None else 0, id_dropout=recipe.id_dropout,
    )  # fmt: skip
    torch.manual_seed(recipe.seed)
    text = torch.from_numpy(data.text) if use_text and data.text is not None else None
    model = SequenceModel(config, torch.from_numpy(touched), text)
    if data.start:
        warm_start.load(model, data.start)
    return model


class Trainer:
    """One run: the model, its optimizer, and how far it has come."""

    def __init__(
        self, recipe: Recipe, data: TrainingData, folder: Path, *, key: str, place: DistributedRank,
        allowed: Callable[[], object] = lambda: None,
    ) -> None:  # fmt: skip
        self.recipe, self.data, self.place, self.key, self.allowed = recipe, data, place, key, allowed
        self.path = folder / checkpoint.FILE
        self.model = build_model(recipe, data).to(place.device)
        self.cut = segments(data.offsets, recipe.max_length, data.firsts)
        if not len(self.cut):
            raise TrainingError(
                "no shopper has two interactions, at two moments, to learn from", remedy="bring more days of events"
            )
        steps = max(1, int(self.cut.lengths.sum()) // (recipe.batch_tokens * place.world))
        self.cut = self.cut.repeated(-(-recipe.epoch_steps // steps))
        planned = min(recipe.max_steps, recipe.max_epochs * len(self._batches(0)))
        self.steps = max(1, round(planned * (recipe.warm_share if data.start else 1)))
        touched = np.unique(data.items)
        self.full = len(touched) <= recipe.full_softmax_items
        self.touched = torch.from_numpy(touched).to(place.device)
        counts = np.bincount(data.items, minlength=data.item_count + 1).astype(np.float64)[touched]
        self.frequency = torch.from_numpy(counts / counts.sum()).to(place.device)
        self.column_of = torch.zeros(data.item_count + 1, dtype=torch.int64)
        self.column_of[torch.from_numpy(touched)] = torch.arange(len(touched))
        step = _Step(self.model)
        self.step_module: nn.Module = (
            DistributedDataParallel(step, find_unused_parameters=not recipe.cosine) if place.world > 1 else step
        )
        self._own_seconds = 0.0  # with several processes: not yet agreed on
        self.optimizer = torch.optim.AdamW(
            self._groups(), lr=recipe.learning_rate, betas=(0.9, 0.98), fused=place.device.type in ("cpu", "cuda")
        )
        self.progress = Progress()
        self.best: dict[str, Tensor] = {}
        self.best_answers: Values = np.zeros(0)
        saved = checkpoint.load(self.path, key=key)
        if saved is not None:
            self.progress, groups = saved
            self.model.load_state_dict(groups["model"])
            self.best = groups["best"]
            self.best_answers = self.best.pop(ANSWERS, torch.zeros(0)).numpy().astype(np.float64)
            checkpoint.restore_optimizer(self.optimizer, groups["optimizer"])

    def _groups(self) -> list[dict[str, object]]:
        matrices = [p for p in self.model.parameters() if p.dim() == 2]
        rest = [p for p in self.model.parameters() if p.dim() != 2]
        return [
            {"params": matrices, "weight_decay": self.recipe.weight_decay},
            {"params": rest, "weight_decay": 0.0},
        ]

    def _batches(self, epoch: int) -> PackedBatches:
        recipe = self.recipe
        return PackedBatches(
            self.data.items, self.cut, width=recipe.max_length, batch_tokens=recipe.batch_tokens * self.place.world,
            seed=recipe.seed, epoch=epoch, firsts=self.data.firsts,
        )  # fmt: skip

    def _learning_rate(self) -> float:
        """Warm up, then follow a cosine over the planned steps; from weights trained before, start lower."""
        recipe, step = self.recipe, self.progress.step
        warm = min(1.0, (step + 1) / max(1, min(recipe.warmup_steps, self.steps // 10)))
        cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, step / self.steps)))
        top, floor = recipe.warm_learning_rate if self.data.start else 1.0, recipe.final_learning_rate
        return recipe.learning_rate * warm * max(floor, floor + (top - floor) * cosine)

    def _tensors(self, batch: Batch) -> tuple[Tensor, ...]:
        arrays = (batch.items, batch.positions, batch.segments, batch.where)
        return tuple(torch.from_numpy(a).to(self.place.device) for a in arrays)

    def _candidates(self, targets: Ints) -> tuple[Tensor, Tensor, Tensor | None]:
        column = self.column_of[torch.from_numpy(targets)].to(self.place.device)
        if self.full:
            return self.touched, column, None
        generator = torch.Generator().manual_seed(self._seed())
        chosen, column, log_inclusion = shared_negatives(
            column, len(self.touched), self.frequency, self.recipe.negatives, generator
        )
        return self.touched[chosen], column, -log_inclusion

    def _seed(self) -> int:
        sequence = np.random.SeedSequence([self.recipe.seed, self.progress.step, self.place.rank])
        return int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1))

    def train_batch(self, batch: Batch) -> float:
        """Take one optimizer step and return the loss."""
        torch.manual_seed(self._seed())
        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate()
        candidates, column, bias = self._candidates(batch.targets)
        with self.place.autocast():
            loss = self.step_module(*self._tensors(batch), candidates, column, bias)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.gradient_clip)
        if not bool(torch.isfinite(norm)):
            raise TrainingError(
                f"the gradient is not a number at step {self.progress.step}",
                remedy="lower the learning rate, or check the text vectors for NaN",
            )
        self.optimizer.step()
        return float(loss.detach())

    def save(self) -> None:
        if self.place.rank == 0:
            best = {**self.best, ANSWERS: torch.from_numpy(self.best_answers)}
            checkpoint.save(
                self.path, self.progress, self.model.state_dict(), best, self.optimizer, key=self.key,
                allowed=self.allowed,
            )  # fmt: skip

    def fit(self, report: Callable[[Progress, float, int, int], None]) -> Progress:
        """Train to the end of the schedule. Calls report(progress, mean loss, batches of the epoch, tokens done)."""
        recipe, progress, place = self.recipe, self.progress, self.place
        saved_at = time.monotonic()
        while not progress.finished:
            batches = self._batches(progress.epoch)
            last = min(len(batches), progress.batch + self.steps - progress.step)  # of this epoch, by the plan
            self.model.train()
            while progress.batch < last:
                started = time.monotonic()
                batch = batches.batch(progress.batch, place.rank, place.world)
                loss = self.train_batch(batch)
                progress.loss_sum += loss * len(batch.targets)
                progress.loss_tokens += len(batch.targets)
                progress.batch += 1
                progress.step += 1
                self._spend(time.monotonic() - started)
                report(progress, progress.loss_sum / progress.loss_tokens, last, len(batch.targets))
                if time.monotonic() - saved_at > recipe.checkpoint_seconds and progress.batch < last:
                    self.save()
                    saved_at = time.monotonic()
            self._end_epoch(batches)
            self.save()
            saved_at = time.monotonic()
        return progress

    def _spend(self, seconds: float) -> None:
        """Count time, which is reported and decides nothing. Several processes agree on it at an epoch's end."""
        if self.place.world == 1:
            self.progress.seconds += seconds
        else:
            self._own_seconds += seconds

    def _end_epoch(self, batches: PackedBatches) -> None:
        """Validate, remember the best, decide whether to go on."""
        recipe, progress = self.recipe, self.progress
        started = time.monotonic()
        answers = validation_ndcg(self.model, self.data)
        self._spend(time.monotonic() - started)
        if self.place.world > 1:
            # One process's rounding must not send the others another way.
            shared = torch.from_numpy(np.append(answers, progress.seconds + self._own_seconds)).to(self.place.device)
            torch.distributed.broadcast(shared, 0)
            answers, progress.seconds = shared[:-1].cpu().numpy(), float(shared[-1])
            self._own_seconds = 0.0
        metric = float(answers.mean()) if len(answers) else 0.0
        if metric > progress.best_metric:
            self.best_answers = answers
            self._keep(metric)
        overfit = overfits(answers, self.best_answers)
        progress.overfit_epochs = progress.overfit_epochs + 1 if overfit else 0
        progress.finished = progress.step >= self.steps or progress.overfit_epochs >= recipe.patience
        if progress.finished and not overfit:
            self._keep(metric)
        progress.curve.append(
            {
                "epoch": progress.epoch,
                "step": progress.step,
                "loss": progress.loss_sum / max(1, progress.loss_tokens),
                VALIDATION: metric,
                "learning_rate": float(self.optimizer.param_groups[0]["lr"]),
                "padding": batches.padding,
                "seconds": progress.seconds,
            }
        )
        progress.epoch += 1
        progress.batch, progress.loss_sum, progress.loss_tokens = 0, 0.0, 0

    def _keep(self, metric: float) -> None:
        """Remember the weights of this epoch, and its metric, as the result so far."""
        self.progress.best_metric, self.progress.best_epoch = metric, self.progress.epoch
        self.best = {name: value.detach().clone() for name, value in self.model.state_dict().items()}
