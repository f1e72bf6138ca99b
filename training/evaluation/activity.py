"""Reads how active shoppers were when they were asked: a point-in-time join for a slice of the evaluation."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    from contracts.settings import Settings

COUNTS = ("views_30d", "carts_30d", "purchases_30d")


def activity(s: Settings, source: str) -> Callable[[pa.Array, npt.NDArray[np.int64]], npt.NDArray[np.float64]]:
    """Return a function (hashed shoppers [E], times [E] in microseconds) -> interactions in 30 days, float64 [E].

    They are those of the 30 days before, as the feature store knew them then; NaN where it knew nothing yet.
    """

    def interactions(shoppers: pa.Array, times: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        import numpy as np
        import pandas as pd

        from artifacts.lake import Lake
        from feature_repo.definitions import LOOK_BACK
        from feature_repo.reader import historical

        at = pd.to_datetime(times, unit="us", utc=True)
        first, last = (at.min() - LOOK_BACK - timedelta(days=1)).date(), at.max().date()
        days = Lake.of(s, source).partitions("shopper_activity")
        if not any(first.isoformat() <= day <= last.isoformat() for day in days):
            return np.full(len(times), np.nan)  # a shop's first night, whose day asks nothing by itself
        asked = pd.DataFrame({"user_id": shoppers.to_pylist(), "event_timestamp": at})
        known = historical(s, source, asked, [f"shopper_activity:{name}" for name in COUNTS])
        total: npt.NDArray[np.float64] = known[list(COUNTS)].sum(axis=1, min_count=1).to_numpy(dtype="float64")
        return total

    return interactions
