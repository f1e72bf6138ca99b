"""Adds buttons to a task's page that open what the task made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator


class _LeftLink(BaseOperatorLink):
    """A link that the step left in XCom under `left_as`; empty when it made none."""

    left_as: ClassVar[str]

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:  # noqa: ARG002 - Airflow's signature
        from airflow.sdk.execution_time.xcom import XCom

        return XCom.get_value(ti_key=ti_key, key=self.left_as) or ""


class MlflowLink(_LeftLink):
    """The MLflow page (run or registered version) of what the task made."""

    name = "MLflow"
    left_as = "mlflow"


class ReleaseRunLink(_LeftLink):
    """The run of `release` that asks people about what the task made."""

    name = "Release run"
    left_as = "release"


class TrainingRunLink(_LeftLink):
    """The MLflow run that trained the release."""

    name = "Training run"
    left_as = "run"


class DriftReportLink(_LeftLink):
    """The drift report, as kept with the MLflow run."""

    name = "Drift report"
    left_as = "report"
