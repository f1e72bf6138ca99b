"""Asks every ranker the same questions, those of the held-out days: one vocabulary, one catalog, one order."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from contracts import release as files
from contracts.errors import NotEnoughData
from training.data import held_out
from training.data.datasets import Examples, Ints
from training.data.inputs import Inputs
from training.evaluation import compare
from training.ranker import program
from training.ranker.pipeline import Pipeline, in_vocabulary
from training.recipes import Recipe

if TYPE_CHECKING:
    from training.models.ranking import Ranking, Score

#: (shopper of each question, time in microseconds) -> interactions in the 30 days before, NaN where unknown
Activity = Callable[[pa.Array, Ints], npt.NDArray[np.float64]]


@dataclass(frozen=True, kw_only=True)
class Questions:
    """E questions about the held-out days, over N items.

    shopper int64 [E], the place of its sequence in Inputs.known; user_ids [E], its hashed name; new_shopper bool [E],
    not seen in training; times int64 [E], microseconds; available bool [N], may be shown; counts float32 [N], how
    often each item was chosen in training.
    """

    examples: Examples
    shopper: Ints
    user_ids: pa.Array
    new_shopper: npt.NDArray[np.bool_]
    times: Ints
    item_ids: pa.Array
    available: npt.NDArray[np.bool_]
    counts: npt.NDArray[np.float32]

    @classmethod
    def of(cls, read: Inputs, recipe: Recipe) -> Questions:
        """Draw the questions from one day's inputs. Raises NotEnoughData for fewer than the recipe wants."""
        from training.evaluation import baselines

        examples, new_shopper, times = held_out.held_out_examples(read, recipe)
        if len(examples) < recipe.min_evaluation_examples:
            raise NotEnoughData(
                f"the held-out days {', '.join(read.held_out)} ask {len(examples)} questions, "
                f"the recipe {recipe.name} needs {recipe.min_evaluation_examples}",
                remedy="ingest more days of events",
            )
        shopper = np.searchsorted(read.known.offsets, examples.stops, side="right") - 1
        return cls(
            examples=examples, shopper=shopper, user_ids=read.known.keys.take(pa.array(shopper)),
            new_shopper=new_shopper, times=times, item_ids=read.items["item_id"].combine_chunks(),
            available=read.available, counts=baselines.popularity(read.train.items, read.item_count),
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.examples)

    def rank(self, score: Score) -> Ranking:
        """Rank all available items for every question, by a score in this vocabulary."""
        from training.models.ranking import rank

        return rank(score, self.examples, exclude_seen=False, top=max(compare.KS), allowed=self.available)

    def rank_release(self, folder: Path, recipe: Recipe) -> Ranking:
        """Rank by the release directory `folder`, which may have another vocabulary and another longest history."""
        longest = int(json.loads((folder / files.MODEL_CONFIG).read_text()).get("max_length", recipe.max_length))
        bundle = compare.open_bundle(folder, longest)
        if program.fits(folder / files.RANKER_ABOUT):
            pipeline = Pipeline.open(folder, bundle.item_ids, bundle.score)
            return in_vocabulary(pipeline, self.examples, self.item_ids, self.available, top=max(compare.KS))
        return self.rank(compare.translated(bundle, self.examples, self.item_ids))

    def rank_parts(self, folder: Path, recipe: Recipe) -> dict[str, Ranking]:
        """Rank by the release directory `folder`, whose vocabulary this is, as "ranker"; and by each source alone."""
        bundle = compare.open_bundle(folder, recipe.max_length)
        pipeline = Pipeline.open(folder, bundle.item_ids, bundle.score)
        return pipeline.rankings(self.examples, self.available, top=max(compare.KS))

    def level(self, ranking: Ranking) -> float:
        """Return the mean headline of one ranker, shoppers weighing alike."""
        return compare.mean_per_shopper(ranking, self.shopper)

    def slices(self, activity: Activity | None) -> dict[str, npt.NDArray[np.bool_]]:
        """Say which questions belong to each slice, bool [E]; those by activity only where it can be asked."""
        lengths, answered = self.examples.lengths, self.counts[self.examples.targets - 1]
        found = {
            "cold item": answered == 0,
            "popular item": answered >= np.quantile(self.counts, 0.9),
            "new shopper": self.new_shopper,
            "known shopper": ~self.new_shopper,
            "history of 1 or 2": lengths <= 2,
            "history of 3 to 9": (lengths >= 3) & (lengths <= 9),
            "history of 10 or more": lengths >= 10,
            "seen before": self.examples.repeats(),
        }
        if activity is not None:
            actions = activity(self.user_ids, self.times)
            found |= {"active shopper": actions >= 10, "quiet shopper": actions < 10}
        return found
