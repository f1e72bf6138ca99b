"""Names recipes: every choice a training run makes, in one frozen value.

One recipe is meant for any data; where a choice depends on the data (full softmax or shared negatives,
how many epochs), the recipe holds the rule and the run applies it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from contracts.errors import SettingsError


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All choices of one training run. Checked when it is made; raises SettingsError."""

    name: str
    seed: int = 17

    # model
    dim: int = 64
    layers: int = 2
    heads: int = 2
    feedforward: int = 4  # width of the hidden layer, in units of dim
    max_length: int = 50
    dropout: float = 0.3
    cosine: bool = True  # score by cosine times a learned scale, so that popular and cold items compare
    own_vectors: bool = True  # a query is partly a mean of the history's own vectors
    text: bool = True  # use text vectors where the catalog has text
    id_dropout: float = 0.1  # share of items that a step sees by their text alone (only with text)

    # loss
    full_softmax_items: int = 5_000  # at most so many items: full softmax; more: shared negatives
    negatives: int = 1_024  # uniform negatives shared by a batch, besides the batch's own targets

    # optimization
    batch_tokens: int = 1_024
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    warmup_steps: int = 100
    final_learning_rate: float = 0.05  # of learning_rate, where the cosine ends
    gradient_clip: float = 1.0

    # how long: counted in steps, never by the clock, so that a busy machine gives the same model
    epoch_steps: int = 64  # small data: an epoch passes over them until it has so many steps
    max_epochs: int = 20
    max_steps: int = 5_000  # large data: fewer epochs
    patience: int = 2  # epochs that overfit, by the validation questions, until training ends and the best are kept
    validation_examples: int = 10_000

    # from night to night
    warm_share: float = 0.25  # of the steps, when training starts from the champion
    warm_learning_rate: float = 0.25  # of learning_rate, at the start of such a training
    training_noise: float = 0.016  # share of its figure by which training alone moves a model; tests/bench/nights.py
    full_every_days: int = 7  # a champion whose line began longer ago is followed by a full training

    # ranker
    ranker_questions: int = 4_000  # of the last days before the cut-off, which the sources have not seen
    ranker_steps: int = 300
    ranker_least: int = 30  # fewer questions tell nothing: the sequence model alone ranks

    # safety
    checkpoint_seconds: float = 30.0

    # nightly evaluation
    holdout_days: int = 3
    holdout_share: float = 0.2  # at most so much of the days, or of the interactions, is held out
    holdout_shoppers: int = 100  # fewer shoppers ask: more days are held out, up to twice the share
    evaluation_examples: int = 20_000
    min_train_interactions: int = 200
    min_evaluation_examples: int = 30

    def __post_init__(self) -> None:
        problems = [
            message
            for wrong, message in (
                (self.dim % self.heads != 0, "dim must be a multiple of heads"),
                (not 0 <= self.dropout < 1, "dropout must be in [0, 1)"),
                (not 0 <= self.id_dropout < 1, "id_dropout must be in [0, 1)"),
                (self.max_length < 2, "max_length must be at least 2"),
                (self.batch_tokens < self.max_length, "batch_tokens must be at least max_length"),
                (self.learning_rate <= 0, "learning_rate must be positive"),
                (
                    min(self.max_epochs, self.max_steps, self.patience) < 1,
                    "max_epochs, max_steps, patience: at least 1",
                ),
                (not 0 < self.warm_share <= 1, "warm_share must be in (0, 1]"),
                (not 0 < self.warm_learning_rate <= 1, "warm_learning_rate must be in (0, 1]"),
                (not 0 < self.holdout_share < 1, "holdout_share must be in (0, 1)"),
            )
            if wrong
        ]
        if problems:
            raise SettingsError(f"recipe {self.name}: {'; '.join(problems)}", remedy="correct training/recipes.py")

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Recipe:
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in known})

    @property
    def digest(self) -> str:
        """SHA-256 of all choices: two runs with one digest ask for the same training."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()


def default() -> Recipe:
    """Return the recipe for any shop: about half an hour on two cores."""
    return Recipe(name="default")


def quick() -> Recipe:
    """Return the recipe of a few minutes at most: demos, backfills, a first look at new data."""
    # few steps: less dropout and a higher rate get further in them (docs/experiments.md)
    return replace(default(), name="quick", max_epochs=6, max_steps=1_800, dropout=0.1, learning_rate=4e-3)


def tiny() -> Recipe:
    """Return the recipe of a few seconds: for tests of the chain, not for shoppers."""
    return replace(
        default(), name="tiny", dim=16, layers=1, heads=1, max_length=20, batch_tokens=512, epoch_steps=1, max_epochs=3,
        patience=3, learning_rate=5e-3, warmup_steps=5, validation_examples=500,
        evaluation_examples=500, checkpoint_seconds=1.0, ranker_questions=300, ranker_steps=60,
    )  # fmt: skip


_RECIPES: dict[str, Callable[[], Recipe]] = {"default": default, "quick": quick, "tiny": tiny}


def names() -> list[str]:
    """List the names of all recipes, the default one first."""
    return list(_RECIPES)


def get(name: str) -> Recipe:
    """Return the recipe `name`. Raises SettingsError, naming those there are."""
    if name not in _RECIPES:
        raise SettingsError(f"there is no recipe {name!r}", remedy=f"choose one of {', '.join(names())}")
    return _RECIPES[name]()
