"""Import a DAG file as Airflow does, in a fresh process, and print what it defines as JSON.

A process of its own: importing Airflow reads its configuration once and for all, and what the file imports
can only be seen in a process that has imported nothing else.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import time
from pathlib import Path

HEAVY = ("torch", "transformers", "mlflow", "feast", "evidently", "pandas", "onnxruntime", "pyspark", "ibis", "boto3")


def main(path: Path) -> None:
    import airflow.sdk  # what every DAG needs; not this file's own time

    before = set(sys.modules)
    start = time.process_time()  # of the processor, whatever else the machine does
    spec = importlib.util.spec_from_file_location("dag_under_test", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    seconds = time.process_time() - start
    heavy = sorted({name.split(".")[0] for name in set(sys.modules) - before} & set(HEAVY))

    from airflow.serialization.serialized_objects import DagSerialization

    dags = {}
    for dag in (value for value in vars(module).values() if isinstance(value, airflow.sdk.DAG)):
        dag.check_cycle()
        DagSerialization.to_dict(dag)
        dags[dag.dag_id] = {
            "doc": dag.doc_md or "",
            "description": dag.description or "",
            "tags": sorted(dag.tags),
            "catchup": dag.catchup,
            "max_active_runs": dag.max_active_runs,
            "timetable": type(dag.timetable).__name__,
            "params": {
                name: {"schema": param.schema, "description": param.description}
                for name, param in ((name, dag.params.get_param(name)) for name in dag.params)
            },
            "tasks": {
                task.task_id: {
                    "owner": task.owner,
                    "retries": task.retries,
                    "retry_delay": task.retry_delay.total_seconds(),
                    "timeout": task.execution_timeout.total_seconds() if task.execution_timeout else None,
                    "doc": task.doc_md or "",
                    "upstream": sorted(task.upstream_task_ids),
                    "outlets": [asset.name for asset in task.outlets],
                    "inlets": [asset.name for asset in task.inlets],
                    "teardown": task.is_teardown,
                    "templated": [
                        value for value in (getattr(task, field, None) for field in task.template_fields)
                        if isinstance(value, str) and "{{" in value
                    ],
                }
                for task in dag.tasks
            },
        }  # fmt: skip
    print(json.dumps({"seconds": seconds, "heavy": heavy, "dags": dags}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
