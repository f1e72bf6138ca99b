"""How active a shopper was when a question was asked, from point-in-time features: a slice of the evaluation."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from contracts.settings import Settings
from training.datasets import Ints
from training.evaluate import Activity

FEATURES = [f"shopper_activity:{name}_30d" for name in ("views", "carts", "purchases")]


def feast_activity(s: Settings, source: str) -> Activity:
    """For evaluate(activity=…): interactions in the 30 days before each question, as Feast knew them then."""

    def activity(shoppers: pa.Array, times: Ints) -> npt.NDArray[np.float64]:
        import pandas as pd

        from feature_repo.reader import historical

        asked = pd.DataFrame(
            {"user_id": shoppers.to_pylist(), "event_timestamp": pd.to_datetime(times, unit="us", utc=True)}
        )
        joined = historical(s, source, asked, FEATURES)
        columns = [name.partition(":")[2] for name in FEATURES]
        total: npt.NDArray[np.float64] = joined[columns].sum(axis=1, min_count=1).to_numpy(dtype=np.float64)
        return total

    return activity
