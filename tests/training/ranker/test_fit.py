"""The ranker is better than each source alone, or gives way to the best of them; its program says the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from retrieval.ranking.ranker import RankerProgram
from retrieval.ranking.sources import CONTEXT, SOURCES, Named
from training.ranker import program
from training.ranker.fit import Learned, choose, figure
from training.ranker.network import AsProducts, OneSource, Ranker

WIDTH, QUESTIONS = 40, 600


def questions(*, seed: int, skill: dict[str, float], count: int = QUESTIONS) -> Learned:
    """Draw questions of 150 shoppers: a source with skill p gives the answer its largest share in p of 100."""
    draw = np.random.default_rng(seed)
    named, answers = [], draw.integers(0, WIDTH, count)
    for answer in answers.tolist():
        shares = draw.dirichlet(np.ones(WIDTH), len(SOURCES)).T.astype(np.float32)
        for column, name in enumerate(SOURCES):
            if name not in skill:
                shares[:, column] = 0
            elif draw.random() < skill[name]:
                best = int(shares[:, column].argmax())
                shares[[answer, best], column] = shares[[best, answer], column]
        named.append(Named(np.arange(WIDTH), shares, np.ones(len(CONTEXT), dtype=np.float32)))
    return Learned.of(named, answers.astype(np.int64), np.sort(draw.integers(0, 150, count)))


def test_sources_that_know_different_things_are_better_together() -> None:
    learned = questions(seed=1, skill={"sequence": 0.4, "neighbours": 0.4, "popular": 0.1})
    network, about = choose(learned, steps=200, seed=3)
    assert about["ranks"] == "ranker"
    figures = about["figures"]
    assert figures["ranker"] > 1.1 * max(value for name, value in figures.items() if name != "ranker")
    assert isinstance(network, Ranker)


def test_one_good_source_among_noise_is_not_made_worse() -> None:
    """On other questions than it learned from: within 2 % of the source alone, whichever of the two ranks."""
    learned, fresh = (questions(seed=seed, skill={"follows": 0.6, "content": 0.0, "here": 0.0}) for seed in (2, 12))
    network, about = choose(learned, steps=200, seed=3)
    assert about["best_source"] == "follows"
    with torch.inference_mode():
        flat = network(
            torch.from_numpy(fresh.shares.reshape(-1, len(SOURCES))), torch.ones(fresh.there.size, len(CONTEXT))
        )
    ours = figure(flat.sum(-1).reshape(fresh.there.shape).numpy(), fresh)
    alone = figure(fresh.shares[:, :, SOURCES.index("follows")], fresh)
    assert ours > 0.98 * alone


def test_an_answer_that_nobody_named_counts_as_a_miss() -> None:
    learned = questions(seed=4, skill={"sequence": 1.0}, count=100)
    column = SOURCES.index("sequence")
    assert figure(learned.shares[:, :, column], learned) == 1.0
    learned.answer[:50] = -1
    assert figure(learned.shares[:, :, column], learned) < 0.7


@pytest.mark.parametrize("network", [Ranker(len(SOURCES), len(CONTEXT)), OneSource(len(SOURCES), 2)])
def test_the_exported_program_gives_the_networks_parts(tmp_path: Path, network: torch.nn.Module) -> None:
    program.write(network.eval(), {"ranks": "ranker", "best_source": "sequence"}, tmp_path)
    draw = np.random.default_rng(0)
    for rows in (1, 2, 173):
        shares = draw.dirichlet(np.ones(rows), len(SOURCES)).T.astype(np.float32)
        context = draw.random(len(CONTEXT)).astype(np.float32)
        found = RankerProgram(tmp_path).parts(Named(np.arange(rows), shares, context))
        with torch.inference_mode():
            expected = network(torch.from_numpy(shares), torch.from_numpy(np.tile(context, (rows, 1)))).numpy()
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_source_that_does_not_name_an_item_adds_nothing() -> None:
    torch.manual_seed(0)
    network = Ranker(len(SOURCES), len(CONTEXT)).eval()
    with torch.inference_mode():
        parts = network(torch.zeros(3, len(SOURCES)), torch.rand(3, len(CONTEXT)))
    np.testing.assert_allclose(parts.numpy(), 0, atol=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_the_exported_form_says_what_the_fitted_one_says(seed: int) -> None:
    torch.manual_seed(seed)
    ranker = Ranker(len(SOURCES), len(CONTEXT))
    for parameter in ranker.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    shares = torch.rand(300, len(SOURCES)) * (torch.rand(300, len(SOURCES)) < 0.3)
    context = torch.rand(1, len(CONTEXT)).expand(300, -1)
    with torch.inference_mode():
        torch.testing.assert_close(AsProducts(ranker)(shares, context), ranker(shares, context), atol=1e-5, rtol=1e-4)
