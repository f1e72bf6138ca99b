"""What the model may look at, and what it can rank."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.training import builders
from training.fitting.loop import build_model
from training.fitting.validation import validation_ndcg
from training.models.sequence import LastQuery, SequenceModel


def model(*, text: bool = False, **changes: object) -> SequenceModel:
    return build_model(builders.recipe(layers=2, **changes), builders.data(text=text)).eval()


def query(program: LastQuery, *histories: list[int], width: int | None = None) -> torch.Tensor:
    lengths = torch.tensor([len(h) for h in histories])
    items = torch.zeros(len(histories), width or int(lengths.max()), dtype=torch.int64)
    for row, history in enumerate(histories):
        items[row, : len(history)] = torch.tensor(history)
    with torch.inference_mode():
        return program(items, lengths)


def test_later_items_change_no_earlier_output() -> None:
    made = model()
    mask = torch.ones(8, 8, dtype=torch.bool).tril()[None, None]
    first = torch.randint(1, 41, (1, 8))
    second = first.clone()
    second[0, 5:] = torch.tensor([7, 8, 9])
    with torch.inference_mode():
        a, b = (made.encode(items, torch.arange(8)[None], mask) for items in (first, second))
    torch.testing.assert_close(a[:, :5], b[:, :5])
    assert not torch.allclose(a[:, 5:], b[:, 5:])


def test_padding_and_neighbours_in_the_batch_change_nothing() -> None:
    program = LastQuery(model())
    alone = query(program, [3, 1, 4])
    torch.testing.assert_close(query(program, [3, 1, 4], width=17), alone, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(query(program, [3, 1, 4], [9] * 12)[:1], alone, atol=1e-6, rtol=1e-5)


def test_a_packed_row_gives_what_each_sequence_gives_alone() -> None:
    made = model()
    items = torch.tensor([[3, 1, 4, 9, 2, 0]])
    positions, marks = torch.tensor([[0, 1, 2, 0, 1, 0]]), torch.tensor([[1, 1, 1, 2, 2, 0]])
    causal = torch.ones(6, 6, dtype=torch.bool).tril()[None]
    mask = (causal & (marks[:, :, None] == marks[:, None, :]))[:, None]
    with torch.inference_mode():
        packed = made.query(made.encode(items, positions, mask))[0]
    expected = query(LastQuery(made), [3, 1, 4], [9, 2])
    torch.testing.assert_close(packed[[2, 4]], expected, atol=1e-6, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize("loss", ["full softmax", "shared negatives"])
def test_it_learns_a_shop_whose_next_item_is_certain(tmp_path: Path, *, text: bool, loss: str) -> None:
    full = 1_000 if loss == "full softmax" else 10
    trainer = builders.trainer(
        tmp_path, builders.data(text=text, count=300), full_softmax_items=full, negatives=30, max_epochs=12,
        learning_rate=0.02, patience=12, dropout=0.1,
    )  # fmt: skip
    before = validation_ndcg(trainer.model, trainer.data).mean()
    trainer.fit(lambda *_: None)
    assert before < 0.3
    assert trainer.progress.best_metric > 0.7


@pytest.mark.slow
def test_an_item_nobody_touched_is_ranked_by_its_text(tmp_path: Path) -> None:
    """Item 40 is never seen; its text says that it is like item 1, so where item 1 is next it ranks high."""
    values = builders.data(text=True, count=300)
    assert values.text is not None
    cold, twin = 40, 1
    text = values.text.copy()
    text[cold - 1] = text[twin - 1]
    seen = values.items != cold
    offsets = np.concatenate([[0], np.cumsum(seen)])[values.offsets]
    values = replace(values, items=values.items[seen], offsets=offsets, text=text)
    trainer = builders.trainer(tmp_path, values, max_epochs=12, patience=12, learning_rate=0.02, id_dropout=0.3)
    trainer.fit(lambda *_: None)
    made = trainer.model.eval()
    assert not bool(made.touched[cold])
    assert float(made.ids.weight[cold].detach().abs().max()) == 0.0
    before_twin = (twin - 1 - 3) % 40 + 1
    with torch.inference_mode():
        scores = query(LastQuery(made), [before_twin])[0] @ made.all_item_vectors().T
    assert int((scores > scores[cold - 1]).sum()) < 8
