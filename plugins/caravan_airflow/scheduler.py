"""Runs Airflow's scheduler with the chain's libraries loaded first: `python -m caravan_airflow.scheduler [OPTIONS]`.

The LocalExecutor's workers are forks of the scheduler, and every task is a fork of a worker: what is loaded here is
loaded once, instead of ten seconds and more in each task. None of these starts threads that a fork would lose.
"""

from __future__ import annotations

import importlib
import runpy
import sys

#: What several steps of a night need and what takes long to load.
LOADED = ("mlflow", "torch", "feast", "pandera.pandas")


def main() -> None:
    for name in LOADED:
        importlib.import_module(name)
    sys.argv = ["airflow", "scheduler", *sys.argv[1:]]
    runpy.run_module("airflow", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
