"""Everything one source has in the store and the registry, as values that can be compared."""

from __future__ import annotations

from typing import Any

from artifacts.object_store import ObjectStore
from artifacts.publish import refs, resolve
from artifacts.registry import ALIASES, Registry, mlflow_client
from contracts.settings import Settings


def snapshot(s: Settings, source: str) -> dict[str, Any]:
    """Digest of every partition, model, evaluation and release; versions, aliases and training runs.

    A digest names content, so equal digests are equal bytes.
    """
    store = ObjectStore.of(s)
    pointers = {
        ref: resolve(store, ref)
        for prefix in ("lake", "models", "evaluations", "bundles")
        for ref in refs(store, f"{prefix}/{source}")
        if not ref.startswith(f"lake/{source}/landing-")  # what engines log lands at any time
    }
    registry, client = Registry.of(s), mlflow_client(s)
    experiment = client.get_experiment_by_name(source)
    runs = client.search_runs([experiment.experiment_id], max_results=1000) if experiment else []
    return {
        "pointers": pointers,
        "versions": registry.versions(source),
        "aliases": {name: registry.alias(source, name) for name in ALIASES},
        "runs": sorted(run.info.run_id for run in runs),
    }
