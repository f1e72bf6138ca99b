"""Training events/s, packed rows and our losses, beside the plain way in the same run: padded rows, whole logits.

`python -m tests.bench.bench_training`: shops of 2,000, 12,000 and 50,000 items, histories of 9 items on average.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from torch.nn import functional as F  # noqa: N812

from contracts.settings import read_settings
from training import recipes
from training.data.datasets import Examples, Sequences
from training.data.training_data import TrainingData
from training.fitting import launch
from training.fitting.loop import DistributedRank, Trainer, build_model

STEPS = 12
WARMUP = 2
HISTORIES = 6_000


def shop(items: int) -> Sequences:
    draw = np.random.default_rng(0)
    lengths = np.minimum(3 + draw.geometric(1 / 7, size=HISTORIES), 51)
    flat = np.minimum((draw.pareto(1.0, size=int(lengths.sum())) * 20).astype(np.int64), items - 1) + 1
    flat[: min(items, len(flat))] = draw.permutation(items)[: len(flat)] + 1
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Sequences(flat, np.arange(len(flat)), offsets, pa.array(range(HISTORIES)))


def ours(data: TrainingData, recipe: recipes.Recipe) -> float:
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(recipe, data, Path(folder), key="bench", place=DistributedRank(torch.device("cpu")))
        from training.data.packing import PackedBatches

        batches = PackedBatches(
            data.items, trainer.cut, width=recipe.max_length, batch_tokens=recipe.batch_tokens, seed=0, epoch=0
        )
        events = 0
        for number in range(min(len(batches), WARMUP + STEPS)):
            if number == WARMUP:
                started, events = time.perf_counter(), 0
            batch = batches.batch(number)
            trainer.train_batch(batch)
            events += len(batch.targets)
        return events / (time.perf_counter() - started)


def plain(data: TrainingData, recipe: recipes.Recipe) -> float:
    """As many histories per batch, each padded to the full length; autograd through all logits of all items."""
    model = build_model(recipe, data).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    width = recipe.max_length
    lengths = np.diff(data.offsets)
    rows = max(1, int(recipe.batch_tokens / (lengths.mean() - 1)))
    causal = torch.ones(width, width, dtype=torch.bool).tril()[None, None]
    events = 0
    steps = STEPS // 3 + 1
    for number in range(1 + steps):
        if number == 1:
            started, events = time.perf_counter(), 0
        chosen = np.arange(number * rows, (number + 1) * rows) % len(lengths)
        items = torch.zeros(rows, width, dtype=torch.int64)
        targets = torch.zeros(rows, width, dtype=torch.int64)
        for row, sequence in enumerate(chosen):
            part = torch.from_numpy(data.items[data.offsets[sequence] : data.offsets[sequence + 1]])[: width + 1]
            items[row, : len(part) - 1], targets[row, : len(part) - 1] = part[:-1], part[1:]
        hidden = model.query(model.encode(items, torch.arange(width).expand(rows, width), causal))
        loss = F.cross_entropy(
            (hidden @ model.all_item_vectors().T).reshape(rows * width, -1), targets.reshape(-1) - 1, ignore_index=-1
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        events += int((targets > 0).sum())
    return events / (time.perf_counter() - started)


def main() -> None:
    recipe = recipes.get("default")
    print(f"{torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f}, recipe {recipe.name}\n")
    print("| items | loss | events/s | full softmax, events/s | padded, whole logits, events/s | ratio |")
    print("|---:|---|---:|---:|---:|---:|")
    for items in (2_000, 12_000, 50_000):
        sequences = shop(items)
        nobody = Examples(sequences.items, *(np.zeros(0, dtype=np.int64),) * 3)
        data = TrainingData(items, sequences.items, sequences.offsets, nobody, False, None)
        full = items <= recipe.full_softmax_items
        mine = ours(data, recipe)
        whole = mine if full else ours(data, replace(recipe, full_softmax_items=items))
        peer = plain(data, replace(recipe, batch_tokens=256))
        loss = "full softmax" if full else "shared negatives"
        print(f"| {items:,} | {loss} | {mine:,.0f} | {whole:,.0f} | {peer:,.0f} | {mine / peer:.1f} |", flush=True)


if __name__ == "__main__":
    environment = launch.environment(read_settings())
    if os.environ.get("OMP_WAIT_POLICY") != environment["OMP_WAIT_POLICY"]:  # read when torch is loaded: start again
        sys.exit(subprocess.run([sys.executable, "-m", "tests.bench.bench_training"], env=environment).returncode)
    main()
