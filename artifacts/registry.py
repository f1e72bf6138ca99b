"""Uses the MLflow registry: one registered model per source, one version per release digest.

A version's files, proxied by the MLflow server, are a few kilobytes that make it a model of MLflow's
(`serving.registered.model_files`); a version of before Caravan 0.2 has none. The bundle's bytes are in our own store
under the digest, which the tag `caravan.digest` names. Aliases: `challenger`, `canary`, `champion`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contracts.errors import ModelRefused, RegistryError
from contracts.settings import Settings

if TYPE_CHECKING:
    from mlflow import MlflowClient

DIGEST_TAG = "caravan.digest"
#: MLflow loads pickles, which are code, unless this is false; `caravan/stack/host/environment.py` says it too.
ALLOW_PICKLE = "MLFLOW_ALLOW_PICKLE_DESERIALIZATION"
ALIASES = ("challenger", "canary", "champion")


@dataclass(frozen=True, kw_only=True)
class Version:
    """One registered version of a source's model."""

    number: int
    digest: str
    run_id: str
    uri: str = ""  # of the folder with its files


def model_name(source: str) -> str:
    return f"recommender-{source}"


def mlflow_client(s: Settings) -> MlflowClient:
    """Return a client that is signed in to the region's MLflow server."""
    os.environ[ALLOW_PICKLE] = "false"  # also of a process that no stack started: a command, a notebook
    os.environ["MLFLOW_TRACKING_USERNAME"] = s.mlflow_username
    os.environ["MLFLOW_TRACKING_PASSWORD"] = s.secret("mlflow_password")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # the steps link to their runs themselves
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # of four small files
    import mlflow

    mlflow.set_tracking_uri(s.mlflow_address)
    return mlflow.MlflowClient(tracking_uri=s.mlflow_address)


def mlflow_page(s: Settings, place: str) -> str:
    """Return the URL of a page of MLflow in its view for model training, not in that for chat bots."""
    return f"{s.mlflow_address}/#/{place}?workflowType=machine_learning"


class Registry:
    """Versions and aliases, through an MLflow client."""

    def __init__(self, client: MlflowClient) -> None:
        self._client = client

    @classmethod
    def of(cls, s: Settings) -> Registry:
        return cls(mlflow_client(s))

    def register(
        self, source: str, digest: str, *, run_id: str, metrics: dict[str, float], tags: dict[str, str],
        folder: str = "release", description: str = "",
    ) -> int:  # fmt: skip
        """Return the version that stands for `digest`; it is made unless it exists, so a repeated call adds nothing.

        `folder`, among the run's artifacts, is where its files are; put them there first.
        """
        name = model_name(source)
        with _speaking():
            self._ensure_model(name, source)
            found = self._find(name, digest)
            if found is not None:
                return found.number
            version = self._client.create_model_version(
                name,
                source=f"{self._client.get_run(run_id).info.artifact_uri}/{folder}",
                run_id=run_id,
                tags={**tags, DIGEST_TAG: digest, **{f"metric.{k}": f"{v:.6g}" for k, v in sorted(metrics.items())}},
                description=description or f"Release {digest[:12]}",
            )
            return int(version.version)

    def find(self, source: str, digest: str) -> Version | None:
        """Return the version that stands for `digest`, or None."""
        with _speaking():
            return self._find(model_name(source), digest)

    def describe(self, source: str, version: int, text: str) -> None:
        """Replace the description of a version."""
        with _speaking():
            self._client.update_model_version(model_name(source), str(version), description=text)

    def put_files(self, run_id: str, files: Path, folder: str) -> None:
        """Put `files` into a folder of the run's artifacts."""
        with _speaking():
            self._client.log_artifacts(run_id, str(files), folder)

    def remove_files(self, version: Version) -> None:
        """Remove all files of a version."""
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        with _speaking():
            self._folder(version)  # or these would be another's
            get_artifact_repository(version.uri, tracking_uri=self._client.tracking_uri).delete_artifacts()

    def files(self, version: Version) -> dict[str, int]:
        """Return the size in bytes of each file of a version, by its name; a folder is named as one, without a size."""
        with _speaking():
            folder = self._folder(version)
            found = self._client.list_artifacts(version.run_id, folder)
        return {f.path.removeprefix(f"{folder}/") + "/" * f.is_dir: int(f.file_size or 0) for f in found}

    def download(self, version: Version, to: Path) -> Path:
        """Bring the files of a version below `to`; return the folder that holds them."""
        with _speaking():
            return Path(self._client.download_artifacts(version.run_id, self._folder(version), str(to)))

    def folder(self, version: Version) -> str:
        """Return where a version's files are, among those of its run. Raises ModelRefused for one that has none."""
        with _speaking():
            return self._folder(version)

    def versions(self, source: str) -> list[Version]:
        """List every version, oldest first."""
        with _speaking():
            return sorted(self._versions(model_name(source), ""), key=lambda v: v.number)

    def alias(self, source: str, name: str) -> Version | None:
        """Return the version that an alias is set on, or None."""
        from mlflow.exceptions import MlflowException

        with _speaking():
            try:
                return _version(self._client.get_model_version_by_alias(model_name(source), name))
            except MlflowException as error:
                if error.error_code in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
                    return None
                raise

    def set_alias(self, source: str, name: str, version: int) -> None:
        if name not in ALIASES:
            raise RegistryError(f"{name} is not one of our aliases", remedy=f"use one of {', '.join(ALIASES)}")
        with _speaking():
            self._client.set_registered_model_alias(model_name(source), name, str(version))

    def _folder(self, version: Version) -> str:
        root = f"{self._client.get_run(version.run_id).info.artifact_uri}/" if version.run_id else ""
        if not root or not version.uri.startswith(root):
            raise ModelRefused(
                f"version {version.number} points to {version.uri or 'nothing'}, not to files of its own training run",
                remedy="find out who made it, and delete it in MLflow",
            )
        return version.uri.removeprefix(root)

    def _ensure_model(self, name: str, source: str) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self._client.create_registered_model(name, description=f"Recommendation and search for {source}")
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def _find(self, name: str, digest: str) -> Version | None:
        return next(iter(self._versions(name, f" and tags.`{DIGEST_TAG}` = '{digest}'")), None)

    def _versions(self, name: str, condition: str) -> list[Version]:
        found: list[Version] = []
        token = None
        while True:
            page = self._client.search_model_versions(f"name = '{name}'{condition}", page_token=token)
            found += [_version(v) for v in page]
            token = page.token
            if not token:
                return found


def _version(version: Any) -> Version:
    return Version(
        number=int(version.version), digest=version.tags.get(DIGEST_TAG, ""), run_id=version.run_id or "",
        uri=version.source or "",
    )  # fmt: skip


@contextmanager
def _speaking() -> Iterator[None]:
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        raise RegistryError(
            f"the model registry refused or did not answer: {error.message}",
            remedy="`caravan status` shows whether MLflow runs; see `caravan logs mlflow`",
        ) from error
