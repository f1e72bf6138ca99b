"""`caravan forget` refuses before it touches anything when what was asked is not clear."""

from __future__ import annotations

import pytest

from caravan.cli.recovery.forget import _end, regions_of
from caravan.cli.recovery.forget import forget as command
from contracts.errors import ErasureUnfinished, SettingsError
from contracts.settings import Settings
from recovery.erasure.forget import ErasureReport


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({}, "name one shopper"),
        ({"user_id": "anna", "again": True}, "name one shopper"),
        ({"user_id": "anna", "as_json": True}, "nobody can be asked"),
        ({"user_id": "anna", "reason": "Anna asked", "yes": True}, "names the shopper"),
        ({"user_id": "anna", "region": "moon", "yes": True}, "no region moon"),
    ],
)
def test_what_is_not_clear_is_refused(asked: dict[str, object], said: str) -> None:
    given: dict[str, object] = {
        "user_id": "", "reason": "", "region": "", "again": False, "dry_run": False, "yes": False,
        "without_vault": False, "as_json": False,
    }  # fmt: skip
    with pytest.raises(SettingsError, match=said):
        command(**(given | asked))  # type: ignore[arg-type]


def test_each_region_that_has_a_home_is_meant(tmp_path: object) -> None:
    s = Settings(home=tmp_path)  # type: ignore[arg-type]
    assert regions_of(s, "") == ("primary",)
    (s.home / "regions" / "standby").mkdir(parents=True)
    assert regions_of(s, "") == ("primary", "standby")
    assert regions_of(s, "standby") == ("standby",)
    assert regions_of(s.model_copy(update={"s3_endpoint": "http://store"}), "") == ("primary",)


def test_what_is_left_is_an_error_that_says_how_to_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    done = ErasureReport(region="primary", found={"event log": 3}, left={}, unreached={})
    _end([done], as_json=False)
    assert "event log" in capsys.readouterr().out
    with pytest.raises(ErasureUnfinished, match="online store: it does not answer") as caught:
        _end(
            [
                done,
                ErasureReport(region="standby", found={}, left={}, unreached={"online store": "it does not answer"}),
            ],
            as_json=False,
        )
    assert "--again" in caught.value.remedy
