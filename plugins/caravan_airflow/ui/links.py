"""Adds buttons to a task's page that open what the task made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator


class MlflowLink(BaseOperatorLink):
    """The MLflow page (run or registered version) of what the task made."""

    name = "MLflow"

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:  # noqa: ARG002 - Airflow's signature
        return _left(ti_key, "mlflow")


class ReleaseRunLink(BaseOperatorLink):
    """The run of `release` that asks people about what the task made."""

    name = "Release run"

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:  # noqa: ARG002 - Airflow's signature
        return _left(ti_key, "release")


class TrainingRunLink(BaseOperatorLink):
    """The MLflow run that trained the release."""

    name = "Training run"

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:  # noqa: ARG002 - Airflow's signature
        return _left(ti_key, "run")


class DriftReportLink(BaseOperatorLink):
    """The drift report, as kept with the MLflow run."""

    name = "Drift report"

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:  # noqa: ARG002 - Airflow's signature
        return _left(ti_key, "report")


def _left(ti_key: Any, name: str) -> str:
    """Return the link that the step left in XCom under `name`; empty when it made none."""
    from airflow.sdk.execution_time.xcom import XCom

    return XCom.get_value(ti_key=ti_key, key=name) or ""
