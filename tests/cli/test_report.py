"""A report that cannot be written is refused before the work."""

from __future__ import annotations

from pathlib import Path

import pytest

from caravan.cli.evaluate.report import demand_writable
from contracts.errors import SettingsError


def test_what_can_not_be_written_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "file" / "report.json"):
        with pytest.raises(SettingsError, match="cannot be written"):
            demand_writable(path)
    demand_writable(tmp_path / "new" / "report.json")
    assert list((tmp_path / "new").iterdir()) == []
    demand_writable(tmp_path / "file")
    assert (tmp_path / "file").exists()
