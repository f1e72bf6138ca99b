"""Writes and checks the files of a registered version: which loader, which release, what it takes, and an example.

Nothing of the release itself is there, and nothing that could run: `MLmodel` names a module of Caravan's own, which
Python finds in the environment, and `release.json` names the release by its digest. What else such a folder holds, or
says, was put there by somebody else, and is refused.
"""

from __future__ import annotations

import json
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contracts.errors import ModelRefused
from contracts.release import DIGEST

#: The module that MLflow imports, by name. It is written in every version that was ever registered: it stays.
LOADER = "serving.registered.loader"
MODEL, RELEASE, EXAMPLE, SERVING_EXAMPLE = "MLmodel", "release.json", "input_example.json", "serving_input_example.json"
FILES = frozenset({MODEL, RELEASE, EXAMPLE, SERVING_EXAMPLE})
FORMAT = 1
#: What MLflow adds where it loads a version, the name and the number of it: to its copy, or to files on its own disk.
_BY_MLFLOW = "registered_model_meta"
#: No file of a version is larger.
LIMIT_BYTES = 256 << 10
#: The whole of what a version says of how it is loaded, beside the version of Python that it was written by.
FLAVOR = {"loader_module": LOADER, "data": RELEASE}
#: What MLflow writes beside the flavors; none of it names code.
_ABOUT = frozenset({
    "artifact_path", "flavors", "is_signature_from_type_hint", "mlflow_version", "model_id", "model_size_bytes",
    "model_uuid", "prompts", "run_id", "saved_input_example_info", "signature", "type_hint_from_example",
    "utc_time_created",
})  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Named:
    """The release that a version stands for."""

    digest: str
    source: str


def write(folder: Path, named: Named, *, run_id: str, history: list[str]) -> None:
    """Write the files of a version; `history` is the example of a question."""
    from mlflow.models import Model

    from serving.registered.questions import signature

    example = {"columns": ["history", "k"], "data": [[history, 10]]}
    _write(folder / RELEASE, {"format": FORMAT, "digest": named.digest, "source": named.source})
    _write(folder / EXAMPLE, example)
    _write(folder / SERVING_EXAMPLE, {"dataframe_split": example})
    about = {
        "artifact_path": EXAMPLE, "type": "dataframe", "pandas_orient": "split", "serving_input_path": SERVING_EXAMPLE
    }  # fmt: skip
    model = Model(
        artifact_path=artifact_path(named.digest), run_id=run_id, signature=signature(), saved_input_example_info=about,
        model_uuid=named.digest[:32],
    )  # fmt: skip
    model.add_flavor("python_function", python_version=platform.python_version(), **FLAVOR)
    model.save(str(folder / MODEL))


def artifact_path(digest: str) -> str:
    """Return the folder of a version's files, among those of its training run."""
    return f"releases/{digest}"


def check(folder: Path) -> Named:
    """Return the release that a version's files name. Raises ModelRefused for files that Caravan did not write so."""
    refuse_others({str(p.relative_to(folder)): p.lstat().st_size for p in folder.rglob("*") if not p.is_dir()})
    about = _yaml(folder / MODEL)
    if unknown := sorted(set(about) - _ABOUT):
        raise refusal(f"{MODEL} says {unknown[0]}")
    flavors = about.get("flavors")
    if not isinstance(flavors, dict) or list(flavors) != ["python_function"]:
        raise refusal(f"{MODEL} has the flavors {_names(flavors)}, and not python_function alone")
    loads = flavors["python_function"]
    loads = {k: v for k, v in loads.items() if k != "python_version"} if isinstance(loads, dict) else loads
    if loads != FLAVOR:
        loader = loads.get("loader_module") if isinstance(loads, dict) else None
        raise refusal(f"{MODEL} is loaded by {loader} with {_names(loads)}, and not by {LOADER} with {RELEASE}")
    return _named(folder / RELEASE)


def refuse_others(sizes: dict[str, int]) -> None:
    """Raise ModelRefused unless these are the files of a version, by their names and sizes, before any is read."""
    if other := sorted(set(sizes) - FILES - {_BY_MLFLOW}):
        raise refusal(f"{other[0]} is among its files")
    if missing := sorted({MODEL, RELEASE} - set(sizes)):
        raise refusal(f"it has no {missing[0]}")
    if large := sorted(name for name, size in sizes.items() if size > LIMIT_BYTES):
        raise refusal(f"{large[0]} is larger than {LIMIT_BYTES >> 10} KB")


def refusal(problem: str) -> ModelRefused:
    """Make the error that names what is wrong with the files."""
    return ModelRefused(
        f"this is no model that Caravan registered: {problem}",
        remedy="find out who changed it; then `caravan release model VERSION --write` writes its files again",
    )


def _named(path: Path) -> Named:
    try:
        found = json.loads(path.read_bytes())
        named = Named(digest=str(found["digest"]), source=str(found["source"]))
        known = found["format"] == FORMAT and DIGEST.match(named.digest)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise refusal(f"{RELEASE} cannot be read") from error
    if not known:
        raise refusal(f"{RELEASE} names no release in format {FORMAT}")
    return named


def _yaml(path: Path) -> dict[str, Any]:
    import yaml

    try:
        found = yaml.safe_load(path.read_bytes())
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise refusal(f"{path.name} cannot be read") from error
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise refusal(f"{path.name} cannot be read")
    return found


def _names(value: object) -> str:
    return ", ".join(sorted(map(str, value))) if isinstance(value, dict) and value else "nothing"


def _write(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, sort_keys=True))
