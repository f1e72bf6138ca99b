"""Checks the model that a release is in MLflow, and says how it is asked and served: `caravan release model`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from contracts.settings import secrets_folder, settings

if TYPE_CHECKING:
    from contracts.settings import Settings

Which = Annotated[str, typer.Argument(help="A version's number, or an alias: champion, canary or challenger.")]
Source = Annotated[str, typer.Option("--source", help="Data source; default: the setting `shop`.")]
Write = Annotated[
    bool,
    typer.Option(
        "--write", help="First write its files again: of a version that an earlier Caravan made, or somebody changed."
    ),
]

#: Port in the example of a command that serves the model.
PORT = 5001


def model(which: Which = "champion", source: Source = "", write: Write = False) -> None:
    """Check that a version in MLflow is as Caravan registered it, and say how to ask and serve it."""
    from artifacts.fence import Fence
    from artifacts.ledger import Ledger
    from artifacts.object_store import ObjectStore
    from artifacts.registry import Registry, model_name
    from releases.model import registered

    s = settings()
    shop, registry = source or s.shop, Registry.of(s)
    version = registered.find(registry, shop, which)
    if write:
        Fence(s).demand()
        registered.write(registry, ObjectStore.of(s), shop, version)
    with tempfile.TemporaryDirectory() as place:
        registered.check(registry, Ledger.of(s), shop, version, Path(place))
    typer.echo(
        f"version {version.number} of {model_name(shop)} is as Caravan registered it: release {version.digest[:12]}"
    )
    typer.echo("\n".join(["", *environment(s), "", *commands(f"models:/{model_name(shop)}/{version.number}")]))


def environment(s: Settings) -> list[str]:
    """List what a shell needs to load a version, as the user who may read MLflow and change nothing there."""
    password = secrets_folder(s.home).resolve() / "mlflow_viewer_password"
    return [
        f"export MLFLOW_TRACKING_URI={s.mlflow_address} MLFLOW_TRACKING_USERNAME=viewer",
        f'export MLFLOW_TRACKING_PASSWORD="$(cat {password})" MLFLOW_ALLOW_PICKLE_DESERIALIZATION=false',
        f"export CARAVAN_HOME={s.home} CARAVAN_REGION={s.region} CARAVAN_PORT_OFFSET={s.port_offset}",
    ]


def commands(address: str) -> list[str]:
    """List the two commands: ask it once, and serve it."""
    question = '{"dataframe_records": [{"history": ["ITEM"], "k": 5}]}'
    return [
        f"python -c \"import mlflow; print(mlflow.pyfunc.load_model('{address}').predict([{{'history': ['ITEM']}}]))\"",
        f"mlflow models serve --model-uri {address} --env-manager local --port {PORT}",
        f"curl -H 'Content-Type: application/json' -d '{question}' http://127.0.0.1:{PORT}/invocations",
    ]
