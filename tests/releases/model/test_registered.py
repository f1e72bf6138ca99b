"""A version is a model that answers as the engine does; nothing of Caravan's loads what Caravan did not write."""

from __future__ import annotations

import ast
import importlib
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import mlflow
import pandas as pd
import pytest
import yaml
from fastapi.testclient import TestClient
from mlflow.exceptions import MlflowException

from artifacts.registry import Registry
from contracts.errors import ModelRefused, NotFound, Tampered
from releases.model import registered
from serving.bundle.release import load_release
from serving.pipeline.pipeline import describe_chosen, rank
from serving.pipeline.stage_timings import StageWatch
from serving.registered import model_files
from serving.registered.questions import read_questions
from tests.conftest import REPOSITORY
from tests.releases.model.conftest import SOURCE, Shop
from tests.serving.tiny_release import item_id
from tests.test_architecture import files

ADDRESS = f"models:/recommender-{SOURCE}@champion"
QUESTIONS = [
    {"history": [item_id(0), item_id(5)]},
    {"history": [item_id(7)], "k": 3, "exclude": [item_id(2)], "hide_seen": True, "max_per_category": 1},
    {"history": [], "category": "kitchen/tea"},
    {"history": ["unknown"]},
]


def from_the_engine(shop: Shop, digest: str) -> list[dict[str, object]]:
    """The answers of the pipeline itself, over the bundle as it was built."""
    release = load_release(shop.folder / "bundle-0", digest=digest, source=SOURCE)
    found = []
    for question in read_questions(QUESTIONS):
        answer = rank(release, question.to_query(release), StageWatch())
        fallback = answer.fallback and str(answer.fallback)
        found.append({"items": describe_chosen(release, answer), "fallback": fallback})
    return found


def test_mlflow_answers_as_the_engine_does(shop: Shop) -> None:
    digest = shop.publish()
    shop.register(digest)
    expected = from_the_engine(shop, digest)
    assert [len(answer["items"]) for answer in expected] == [10, 3, 10, 10]
    for model in (mlflow.pyfunc.load_model(ADDRESS), shop.load(), shop.load("1")):
        assert model.predict(pd.DataFrame(QUESTIONS)).to_dict("records") == expected
        assert model.predict(QUESTIONS).to_dict("records") == expected


def test_its_own_example_can_be_asked(shop: Shop) -> None:
    shop.register(shop.publish())
    model = mlflow.pyfunc.load_model(ADDRESS)
    assert len(model.predict(model.input_example)["items"][0]) == 10


def test_mlflows_server_answers_in_json_and_says_what_is_wrong(shop: Shop) -> None:
    from mlflow.pyfunc.scoring_server import init

    digest = shop.publish()
    shop.register(digest)
    with TestClient(init(mlflow.pyfunc.load_model(ADDRESS))) as client:
        answer = client.post("/invocations", json={"dataframe_records": QUESTIONS})
        assert answer.json() == {"predictions": from_the_engine(shop, digest)}
        wrong = client.post("/invocations", json={"dataframe_records": [{"history": ["a"], "k": 0}]})
    assert wrong.status_code == 400
    assert "row 0, k: Input should be greater than or equal to 1" in wrong.text


def test_what_is_registered_is_small_and_a_repeated_call_writes_nothing(shop: Shop) -> None:
    version = shop.register(shop.publish())
    folder = shop.files_of(version)
    assert {path.name for path in folder.iterdir()} == model_files.FILES
    assert sum(path.stat().st_size for path in folder.iterdir()) < 8_000
    written = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert shop.register(version.digest) == version
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == written


def test_two_releases_of_one_run_have_files_of_their_own(shop: Shop) -> None:
    first, second = shop.register(shop.publish()), shop.register(shop.publish(seed=1))
    assert [json.loads((shop.files_of(v) / model_files.RELEASE).read_text())["digest"] for v in (first, second)] == [
        first.digest, second.digest,
    ]  # fmt: skip


def test_the_card_is_the_description(shop: Shop) -> None:
    digest = shop.publish()
    version = shop.register(digest)
    text = shop.client.get_model_version(f"recommender-{SOURCE}", str(version.number)).description
    assert digest in text
    assert "**default**" in text
    assert "the sequence model alone" in text


def test_a_version_of_an_earlier_caravan_is_read_and_can_be_made_a_model(shop: Shop) -> None:
    digest = shop.publish()
    run_id = json.loads(shop.store.get(next(shop.store.list("manifests/")).key))["meta"]["run_id"]
    number = shop.registry.register(SOURCE, digest, run_id=run_id, metrics={}, tags={})  # as it did
    shop.known[digest] = [number]
    shop.registry.set_alias(SOURCE, "champion", number)
    version = shop.registry.alias(SOURCE, "champion")
    assert version is not None
    assert [v.digest for v in shop.registry.versions(SOURCE)] == [digest]
    with pytest.raises(ModelRefused, match="an earlier Caravan") as refused:
        shop.load()
    assert "--write" in refused.value.remedy
    assert shop.register(digest) == version  # a repeated night
    assert digest in shop.client.get_model_version(f"recommender-{SOURCE}", "1").description
    assert shop.load().predict([{"history": [item_id(1)]}])["fallback"][0] is None
    assert mlflow.pyfunc.load_model(ADDRESS).predict([{"history": [item_id(1)]}])["fallback"][0] is None


def test_a_version_that_is_not_there_is_named(shop: Shop) -> None:
    shop.register(shop.publish())
    with pytest.raises(NotFound, match="no version 7"):
        shop.load("7")
    with pytest.raises(NotFound, match="no version canary"):
        shop.load("canary")


def _edit(folder: Path, change: Callable[[dict[str, object]], object]) -> None:
    about = yaml.safe_load((folder / model_files.MODEL).read_text())
    change(about)
    (folder / model_files.MODEL).write_text(yaml.safe_dump(about))


def _flavor(folder: Path, **values: object) -> None:
    _edit(folder, lambda about: about["flavors"]["python_function"].update(values))  # type: ignore[index]


def _another_release(folder: Path) -> None:
    named = json.loads((folder / model_files.RELEASE).read_text())
    (folder / model_files.RELEASE).write_text(json.dumps(named | {"digest": "a" * 64}))


def _pickled(folder: Path) -> None:
    (folder / "python_model.pkl").write_bytes(b"\x80\x04.")
    _flavor(folder, loader_module="mlflow.pyfunc.model", python_model="python_model.pkl")


def _with_code(folder: Path) -> None:
    (folder / "code").mkdir()
    (folder / "code" / "planted.py").write_text("raise SystemExit('planted code ran')")
    _flavor(folder, code="code", loader_module="planted")


PLANTED: dict[str, tuple[Callable[[Path], object], str]] = {
    "another loader": (lambda f: _flavor(f, loader_module="planted"), "loaded by planted"),
    "another module of Caravan": (lambda f: _flavor(f, loader_module="serving.bootstrap"), "loaded by serving"),
    "code paths beside our loader": (lambda f: _flavor(f, code="."), "code"),
    "a model's own configuration": (lambda f: _flavor(f, config={"a": 1}), "config"),
    "a pickle": (_pickled, "python_model.pkl"),
    "code": (_with_code, "code"),
    "a flavor beside ours": (lambda f: _edit(f, lambda a: a["flavors"].update(sklearn={})), "sklearn"),  # type: ignore[attr-defined]
    "another flavor": (lambda f: _edit(f, lambda a: a.update(flavors={"sklearn": {}})), "sklearn"),
    "no flavor": (lambda f: _edit(f, lambda a: a.update(flavors={})), "nothing"),
    "more than we write": (lambda f: _edit(f, lambda a: a.update(resources={"api_version": "1"})), "resources"),
    "an object in YAML": (
        lambda f: (f / "MLmodel").write_text("!!python/object/apply:os.system ['true']"), "cannot be read"
    ),
    "no YAML": (lambda f: (f / "MLmodel").write_bytes(b"\xff\xfe{"), "cannot be read"),
    "a list": (lambda f: (f / "MLmodel").write_text("[1]"), "cannot be read"),
    "no MLmodel": (lambda f: (f / "MLmodel").unlink(), "no MLmodel"),
    "a large file": (lambda f: (f / "input_example.json").write_text(" " * (1 << 20)), "larger"),
    "another release": (_another_release, "names? release aaaaaaaaaaaa"),
    "no release": (lambda f: (f / "release.json").write_text("{}"), "cannot be read"),
    "a path as release": (lambda f: (f / "release.json").write_text(
        '{"format": 1, "digest": "../../etc", "source": "shop"}'), "names no release"),
}  # fmt: skip


@pytest.mark.parametrize("planted", PLANTED)
def test_nothing_loads_what_was_planted(shop: Shop, planted: str) -> None:
    version = shop.register(shop.publish())
    plant, said = PLANTED[planted]
    plant(shop.files_of(version))
    before = set(sys.modules)
    with pytest.raises(ModelRefused, match=said) as refused:
        shop.load()
    assert refused.value.remedy
    with pytest.raises(ModelRefused):  # a repeated night does not take it for the release's version
        shop.register(version.digest)
    registered.write(shop.registry, shop.store, SOURCE, version)  # the remedy
    assert {path.name for path in shop.files_of(version).iterdir()} == model_files.FILES
    assert shop.load().metadata.flavors.keys() == {"python_function"}
    assert not {name for name in set(sys.modules) - before if name.startswith(("planted", "sklearn", "cloudpickle"))}


def test_mlflow_itself_unpickles_nothing_in_our_processes(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    from artifacts.registry import mlflow_client

    class Planted(mlflow.pyfunc.PythonModel):
        def predict(self, context: object, model_input: list[str]) -> list[str]:
            return model_input

    folder = shop.folder / "pickled"
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "true")
    mlflow.pyfunc.save_model(str(folder), python_model=Planted(), pip_requirements=[])
    address = mlflow.get_tracking_uri()
    monkeypatch.setattr(mlflow, "set_tracking_uri", lambda _: None)
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.setenv(name, "")
    mlflow_client(shop.s.model_copy(update={"mlflow_password": shop.s.signing_key}))
    with pytest.raises(MlflowException, match="MLFLOW_ALLOW_PICKLE_DESERIALIZATION"):
        mlflow.pyfunc.load_model(str(folder))
    assert mlflow.get_tracking_uri() == address


def test_a_version_that_points_elsewhere_is_refused(shop: Shop) -> None:
    version = shop.register(shop.publish())
    other = shop.client.create_model_version(
        f"recommender-{SOURCE}", source=f"{version.uri}", tags={"caravan.digest": version.digest}
    )
    with pytest.raises(ModelRefused, match="not to files of its own training run"):
        shop.load(str(other.version))


def test_a_version_that_the_ledger_does_not_know_is_refused(shop: Shop) -> None:
    version = shop.register(shop.publish())
    shop.known[version.digest] = [7]
    with pytest.raises(ModelRefused, match="by the ledger 7, and not version 1"):
        shop.load()
    shop.known.clear()
    with pytest.raises(ModelRefused, match="by the ledger none"):
        shop.load()


def test_a_release_that_nobody_signed_or_of_another_shop_is_not_loaded(shop: Shop) -> None:
    shop.register(shop.publish(signed=False))
    with pytest.raises(Tampered, match="not signed"):
        shop.load()
    with pytest.raises(Tampered, match="not signed"):
        mlflow.pyfunc.load_model(ADDRESS)
    shop.register(shop.publish(seed=1, source="other-shop"))
    with pytest.raises(Tampered, match="is of other-shop"):
        shop.load()


def test_there_is_one_way_to_load_a_version() -> None:
    """Of MLflow's own, which import whatever a version names, only the command that a person is shown has one."""
    ways = ("load_model", "load_context", "spark_udf", "load_pyfunc")
    pattern = re.compile(rf"mlflow(\.\w+)*\.({'|'.join(ways)})\b|from mlflow(\.\w+)* import .*\b({'|'.join(ways)})\b")
    found = {str(path.relative_to(REPOSITORY)) for _, path in files() if pattern.search(_code(path))}
    assert found == {"caravan/cli/release/model.py"}


def _code(path: Path) -> str:
    """A module without its docstring."""
    tree = ast.parse(path.read_text())
    documented = bool(tree.body) and ast.get_docstring(tree) is not None
    return "\n".join(ast.unparse(node) for node in tree.body[documented:])


def test_the_loader_that_every_version_names_stays_where_it_is() -> None:
    assert model_files.LOADER == "serving.registered.loader"
    assert callable(importlib.import_module(model_files.LOADER)._load_pyfunc)


def test_everything_that_reads_versions_goes_through_the_registry(shop: Shop) -> None:
    version = shop.register(shop.publish())
    assert Registry(shop.client).alias(SOURCE, "champion") == version
    assert Registry(shop.client).versions(SOURCE) == [version]
