"""Loads the release of a registered version for MLflow, and answers as an engine does.

`mlflow.pyfunc.load_model` and `mlflow models serve` import this module by its name and call `_load_pyfunc`. The
release comes from the object store of the region that the settings name, under the digest, and only if a key that we
trust signed it: whoever can write into MLflow's artifacts cannot make it answer with anything else.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from contracts.errors import DataError, Tampered
from contracts.settings import Settings, settings
from serving.bundle.fetching import fetch_release
from serving.bundle.release import Release, load_release
from serving.pipeline.pipeline import describe_chosen, rank
from serving.pipeline.stage_timings import StageWatch
from serving.registered import model_files
from serving.registered.questions import read_questions

if TYPE_CHECKING:
    import pandas as pd


class RegisteredRelease:
    """A loaded release, as a model of MLflow."""

    def __init__(self, release: Release) -> None:
        self.release = release

    def predict(self, data: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:  # noqa: ARG002
        """Answer one question a row: the items, best first, and why they are not the best possible, if so."""
        import pandas as pd
        from mlflow.exceptions import MlflowException

        try:
            questions = read_questions(pd.DataFrame(data).to_dict("records"))
        except DataError as error:  # MLflow's server passes on the words of its own errors alone
            raise MlflowException.invalid_parameter_value(str(error)) from error
        answers = [rank(self.release, question.to_query(self.release), StageWatch()) for question in questions]
        return pd.DataFrame({
            "items": [describe_chosen(self.release, answer) for answer in answers],
            "fallback": [answer.fallback and str(answer.fallback) for answer in answers],
        })  # fmt: skip


def load(folder: Path, s: Settings) -> RegisteredRelease:
    """Load the release that the files in `folder` name. Raises ModelRefused, Tampered or ReleaseRefused."""
    from artifacts.object_store import ObjectStore
    from artifacts.signature import verify

    named = model_files.check(folder)
    store = ObjectStore.of(s)
    manifest, directory = fetch_release(
        store, named.digest, trust=lambda store, digest: verify(store, digest, s), cache=s.cache / "releases"
    )
    if manifest.meta.get("source") != named.source:
        raise Tampered(
            f"release {named.digest[:12]} is of {manifest.meta.get('source')}, not of {named.source}",
            remedy="find out who changed its files; `caravan release model VERSION --write` writes them again",
        )
    return RegisteredRelease(load_release(directory, digest=named.digest, source=named.source, meta=manifest.meta))


def _load_pyfunc(path: str) -> RegisteredRelease:
    """Load a version; MLflow calls this with the path of its data file."""
    return load(Path(path).parent, settings())
