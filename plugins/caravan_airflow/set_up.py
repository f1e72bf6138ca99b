"""Makes Airflow's tables, roles and users in one process: `python -m caravan_airflow.set_up < users.json`.

The same as `airflow db migrate` and one `airflow users create` each, but Airflow is imported once.
Standard input is a JSON list of {username, role, password_file}; a user that exists gets this role and password.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


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
            for user in users:
                role, password = security.find_role(user["role"]), Path(user["password_file"]).read_text().strip()
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
