"""docs/settings.md says what contracts/settings.py and contracts/region.py say."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path

from caravan.stack.keys import credentials
from contracts.region import ControlPorts, RegionPorts
from contracts.settings import Settings

DOCUMENT = (Path(__file__).parents[2] / "docs" / "settings.md").read_text()
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")] for line in DOCUMENT.splitlines() if line.startswith("| ")
]


def test_every_setting_is_documented_with_its_default_and_meaning() -> None:
    documented = {row[0].strip("`"): row[1:] for row in ROWS if row[0].startswith("`CARAVAN_")}
    assert list(documented) == [f"CARAVAN_{name.upper()}" for name in Settings.model_fields]
    for name, field in Settings.model_fields.items():
        default, meaning = documented[f"CARAVAN_{name.upper()}"]
        if "SecretStr" in str(field.annotation):
            assert default == "*secret*", name
        elif field.default == "":
            assert default in {"", "*derived*"}, name
        else:
            assert default == f"`{field.default}`", name
        assert meaning, name
        if field.description:
            assert meaning == field.description, name


def test_every_port_is_documented() -> None:
    documented = {row[0].strip("`"): row[1:] for row in ROWS if len(row) == 4}
    primary, standby = asdict(RegionPorts.at("primary", 0)), asdict(RegionPorts.at("standby", 0))
    for name, port in primary.items():
        assert documented[name] == [str(port), str(standby[name]), ""], name
    for name, port in asdict(ControlPorts.at(0)).items():
        assert documented[name] == ["", "", str(port)], name


def test_every_secret_file_of_a_service_is_documented() -> None:
    documented = {name for row in ROWS if len(row) == 2 for name in re.findall(r"`([a-z0-9_]+)`", row[0])}
    assert set(credentials.OF_SERVICES) <= documented
