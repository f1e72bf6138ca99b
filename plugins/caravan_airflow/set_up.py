"""Makes Airflow's tables, roles and users in one process: `python -m caravan_airflow.set_up < users.json`.

The same as `airflow db migrate` and one `airflow users create` each, but Airflow is imported once.
Standard input is a JSON list of {username, role, password}; a user that exists gets this role and password.
"""

from __future__ import annotations

import json
import sys


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
                role = security.find_role(user["role"])
                known = security.find_user(username=user["username"])
                if known is None:
                    name = user["username"]
                    security.add_user(name, name.capitalize(), "Caravan", f"{name}@localhost", role, user["password"])
                else:
                    known.roles = [role]
                    security.update_user(known)
                    security.reset_password(known.id, user["password"])

    work()


if __name__ == "__main__":
    set_up(json.load(sys.stdin))
