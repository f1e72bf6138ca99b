"""Records a training run in MLflow: parameters, metrics and curves, in the experiment of its source."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from contracts.errors import RegistryError
from contracts.settings import Settings

if TYPE_CHECKING:
    from mlflow import MlflowClient

KEY_TAG = "caravan.key"
#: Lets MLflow's pages show an experiment as one of trained models, not of chat bots.
KIND = {"mlflow.experimentKind": "custom_model_development"}


class TrackedRun:
    """One MLflow run per training key: a retry goes on with the run it finds."""

    def __init__(self, client: MlflowClient, run_id: str) -> None:
        self._client = client
        self.run_id = run_id
        self._logged = 0

    @classmethod
    def start(cls, s: Settings, source: str, name: str, *, key: str, tags: dict[str, str]) -> TrackedRun:
        """Find the run of `key` in experiment `source`, or make it. Raises RegistryError."""
        from mlflow.exceptions import MlflowException

        from artifacts.registry import mlflow_client

        client = mlflow_client(s)
        try:
            experiment = client.get_experiment_by_name(source)
            if experiment is None:
                try:
                    identifier = client.create_experiment(source, tags=KIND)
                except MlflowException:  # another process was first
                    experiment = client.get_experiment_by_name(source)
                    if experiment is None:
                        raise
                    identifier = experiment.experiment_id
            else:
                identifier = experiment.experiment_id
            found = client.search_runs([identifier], f"tags.`{KEY_TAG}` = '{key}'", max_results=1)
            if found:
                run = found[0]
                client.update_run(run.info.run_id, status="RUNNING")
            else:
                run = client.create_run(identifier, run_name=name, tags={**tags, KEY_TAG: key})
            return cls(client, run.info.run_id)
        except MlflowException as error:
            raise _error(error) from error

    def parameters(self, values: dict[str, Any]) -> None:
        """Log what was chosen; a repeated call with the same values changes nothing."""
        from mlflow.entities import Param

        self._log(params=[Param(name, str(value)) for name, value in sorted(values.items())])

    def curve(self, entries: list[dict[str, float]]) -> None:
        """Log the epochs that were not logged yet."""
        import time

        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        fresh = entries[self._logged :]
        self._log(
            metrics=[
                Metric(name, float(value), now, int(entry["epoch"]) + 1)
                for entry in fresh
                for name, value in sorted(entry.items())
                if name not in ("epoch", "step")
            ]
        )
        self._logged = len(entries)

    def metrics(self, values: dict[str, float]) -> None:
        import time

        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self._log(metrics=[Metric(name, float(value), now, 0) for name, value in sorted(values.items())])

    def file(self, path: Path, folder: str) -> None:
        """Attach a file to the run."""
        from mlflow.exceptions import MlflowException

        try:
            self._client.log_artifact(self.run_id, str(path), folder)
        except MlflowException as error:
            raise _error(error) from error

    def finish(self, status: str = "FINISHED") -> None:
        from mlflow.exceptions import MlflowException

        try:
            self._client.set_terminated(self.run_id, status)
        except MlflowException as error:
            raise _error(error) from error

    def _log(self, **batch: Any) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self._client.log_batch(self.run_id, **batch)
        except MlflowException as error:
            raise _error(error) from error


def resume(s: Settings, run_id: str) -> TrackedRun:
    """Open a run that exists already, to add what later steps measured."""
    from artifacts.registry import mlflow_client

    return TrackedRun(mlflow_client(s), run_id)


def _error(error: Exception) -> RegistryError:
    return RegistryError(
        f"MLflow refused or did not answer: {error}", remedy="`caravan status` shows whether MLflow runs"
    )
