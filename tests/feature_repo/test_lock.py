"""The feature store's lock: who waits says for whom, and it ends. The holder is a real process that was stopped."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import uuid

import pytest

from contracts.errors import FeatureError
from contracts.settings import Settings
from feature_repo import registry
from tests.conftest import REPOSITORY

pytestmark = [pytest.mark.stack]

HOLD = """
import sys, time
from contracts.settings import settings
from feature_repo.registry import lock
with lock(settings(), sys.argv[1]):
    print("held", flush=True)
    time.sleep(600)
"""


def test_the_waiter_names_the_one_that_was_stopped_and_ends(
    stack: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(registry, "LOCK_TIMEOUT_S", 1.0)
    monkeypatch.setattr(registry, "TELL_EVERY_S", 0.4)
    name = f"test:{uuid.uuid4().hex}"
    home = {"CARAVAN_HOME": str(stack.home), "CARAVAN_PORT_OFFSET": str(stack.port_offset)}
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, name], cwd=REPOSITORY, env=os.environ | home, text=True, stdout=subprocess.PIPE
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        os.kill(holder.pid, signal.SIGSTOP)
        who = f"caravan-features process {holder.pid} on "
        with (
            caplog.at_level(logging.INFO),
            pytest.raises(FeatureError, match=who),
            registry.lock(stack, name),
        ):
            pytest.fail("it is held")
        assert caplog.text.count(f"waits for the feature store's lock `{name}`: {who}") >= 2
    finally:
        holder.kill()
        holder.communicate()
    with registry.lock(stack, name):  # it is free when the holder's connection has gone
        pass
