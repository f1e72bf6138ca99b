"""Makes Airflow's tables, roles and users in one process: `python -m caravan_airflow.set_up < users.json`.

The same as `airflow db migrate` and one `airflow users create` each, but Airflow is imported once.
Standard input is a JSON list of {username, role, password or password_file}; a user that exists gets this role and
password. The role `Service` is made here: what our own tasks may do through the REST API, and no more.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

#: Read requests for input and their answers, and runs; start a run; end a request that is answered elsewhere.
SERVICE = [
    ("can_read", "DAGs"), ("can_edit", "DAGs"), ("can_read", "DAG Runs"), ("can_create", "DAG Runs"),
    ("can_edit", "DAG Runs"), ("can_read", "Task Instances"), ("can_edit", "Task Instances"),
    ("can_read", "HITL Detail"),
]  # fmt: skip


def set_up(users: list[dict[str, str]]) -> None:
    """Bring the metadata database to this version of Airflow, with these users."""
    from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder
    from airflow.utils import db
    from airflow.utils.providers_configuration_loader import providers_configuration_loaded

    @providers_configuration_loaded
    def work() -> None:
        db.initdb()
        with get_application_builder() as builder:
            security = builder.sm
            security.sync_roles()
            security.bulk_sync_roles([{"role": "Service", "perms": SERVICE}])
            for user in users:
                role = security.find_role(user["role"])
                password = user.get("password") or Path(user["password_file"]).read_text().strip()
                known = security.find_user(username=user["username"])
                if known is None:
                    name = user["username"]
                    security.add_user(name, name.capitalize(), "Caravan", f"{name}@localhost", role, password)
                else:
                    known.roles = [role]
                    security.update_user(known)
                    security.reset_password(known.id, password)

    work()


if __name__ == "__main__":
    set_up(json.load(sys.stdin))
