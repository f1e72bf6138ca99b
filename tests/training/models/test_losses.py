"""The chunked loss is the plain one, and shared negatives become it when they are the whole catalog."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from training.models.losses import cross_entropy, shared_negatives


def tensors(rows: int, items: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(seed)
    return (
        torch.randn(rows, 8, requires_grad=True),
        torch.randn(items, 8, requires_grad=True),
        torch.randint(0, items, (rows,)),
    )


@given(st.integers(1, 40), st.integers(2, 30), st.integers(1, 50), st.integers(0, 100))
@settings(max_examples=30)
def test_value_and_gradients_are_those_of_the_plain_softmax(rows: int, items: int, chunk: int, seed: int) -> None:
    queries, vectors, targets = tensors(rows, items, seed)
    expected = torch.nn.functional.cross_entropy(queries @ vectors.T, targets)
    wanted = torch.autograd.grad(expected, (queries, vectors))
    got = cross_entropy(queries, vectors, targets, rows=chunk)
    torch.testing.assert_close(got, expected)
    for mine, plain in zip(torch.autograd.grad(got, (queries, vectors)), wanted, strict=True):
        torch.testing.assert_close(mine, plain, atol=1e-5, rtol=1e-4)


def test_negatives_that_are_the_whole_catalog_give_the_full_softmax() -> None:
    queries, vectors, targets = tensors(50, 20, 3)
    frequency = torch.bincount(targets, minlength=20).double() / 50
    candidates, column, log_inclusion = shared_negatives(targets, 20, frequency, 5_000, torch.Generator())
    assert candidates.tolist() == list(range(20))
    torch.testing.assert_close(
        cross_entropy(queries, vectors[candidates], column, bias=-log_inclusion),
        cross_entropy(queries, vectors, targets),
    )


def test_inclusion_probabilities_are_those_that_are_seen() -> None:
    items, batch, uniform, rounds = 30, 12, 6, 4_000
    generator = torch.Generator().manual_seed(0)
    frequency = torch.arange(1, items + 1).double() / sum(range(1, items + 1))
    seen, predicted = torch.zeros(items), torch.zeros(items)
    for _ in range(rounds):
        targets = torch.multinomial(frequency, batch, replacement=True, generator=generator)
        candidates, column, log_inclusion = shared_negatives(targets, items, frequency, uniform, generator)
        assert (candidates[column] == targets).all()
        seen[candidates] += 1
        predicted[candidates] = log_inclusion.exp()
    torch.testing.assert_close(seen / rounds, predicted, atol=0.03, rtol=0)


def test_a_large_sample_estimates_the_full_loss() -> None:
    queries, vectors, targets = tensors(200, 500, 1)
    frequency = torch.bincount(targets, minlength=500).double() / 200
    generator = torch.Generator().manual_seed(0)
    estimates = []
    for _ in range(50):
        candidates, column, log_inclusion = shared_negatives(targets, 500, frequency, 300, generator)
        estimates.append(float(cross_entropy(queries, vectors[candidates], column, bias=-log_inclusion).detach()))
    full = float(cross_entropy(queries, vectors, targets).detach())
    assert abs(sum(estimates) / len(estimates) - full) < 0.1
