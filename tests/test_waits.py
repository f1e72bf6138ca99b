"""Tests wait for a condition (`tests/waiting.py`). A fixed sleep has a reason, and there may only be fewer of them."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
#: How many fixed sleeps a file has, and why each of them is no wait for something that could be asked.
SLEEPS: dict[str, tuple[int, str]] = {
    "tests/artifacts/test_fence.py": (2, "the pause is what is tested"),
    "tests/bench/bench_serving.py": (3, "an engine rests between two measurements"),
    "tests/bench/load.py": (1, "until the next request is due"),
    "tests/browser/screenshots.py": (3, "what moves on a page comes to rest before its picture"),
    "tests/browser/test_airflow_approval.py": (1, "what moves on a page comes to rest before its picture"),
    "tests/browser/test_links.py": (1, "what moves on a page comes to rest before its picture"),
    "tests/browser/test_mlflow_approval.py": (1, "what moves on a page comes to rest before its picture"),
    "tests/faults/bad_releases.py": (2, "between two looks, and a second in which a release could come back"),
    "tests/faults/controller_kill.py": (1, "how long a process lives before it is killed"),
    "tests/faults/fault_proxy.py": (1, "an engine that answers late"),
    "tests/faults/materializer_kill.py": (1, "how long a process lives before it is killed"),
    "tests/faults/recover_kill.py": (2, "between two looks, and how long a command lives before it is killed"),
    "tests/faults/test_bad_releases.py": (2, "shoppers are served before and after a rollback"),
    "tests/faults/trainer_kill.py": (3, "between two looks, and how long a process lives before it is killed"),
    "tests/recovery/region_lease/test_active.py": (1, "as often as a holder renews its lease"),
    "tests/recovery/test_file_lock.py": (1, "a process that holds a lock until it is killed"),
    "tests/recovery/test_failover.py": (2, "between two looks that do something each"),
    "tests/recovery/erasure/test_forget.py": (
        1,
        "what comes late in the logs says nothing of when it is there",
    ),
    "tests/recovery/restore/test_point_in_time.py": (1, "a second before the drop is after the last row"),
    "tests/releases/fake_region.py": (1, "between two attempts, of which the last raises its error"),
    "tests/scenarios/drill.py": (4, "traffic before a region is lost, and between two looks that are measured"),
    "tests/scenarios/live_canary.py": (3, "between two looks, and Envoy's checks of its new upstreams"),
    "tests/scenarios/lost_region.py": (2, "between two attempts that do something each"),
    "tests/scenarios/two_regions.py": (1, "between two attempts, after which it is removed in any case"),
    "tests/serving/edge/test_listener.py": (1, "a client that sends its body in two halves"),
    "tests/serving/edge/test_split.py": (2, "a copy of a request that must not come has its time to come"),
    "tests/serving/events/test_event_log.py": (1, "a disk that is slow"),
    "tests/serving/events/test_ingest.py": (2, "a disk that is slow, and longer than it takes"),
    "tests/serving/http/test_admission.py": (2, "work that outlasts its deadline"),
    "tests/serving/parts.py": (1, "a store that is slow"),
    "tests/serving/replay/test_command.py": (1, "an answer without a wait"),
    "tests/serving/replay/test_replay.py": (3, "a generator that is held up, and engines that are slow"),
    "tests/waiting.py": (1, "it is what waits"),
}


def sleeps(path: Path) -> int:
    """Count the calls of `time.sleep`, `asyncio.sleep` and a browser page's `wait_for_timeout`."""
    called = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    names = [name.attr if isinstance(name, ast.Attribute) else getattr(name, "id", "") for name in called]
    return sum(name in ("sleep", "wait_for_timeout") for name in names)


def test_a_fixed_sleep_has_a_reason() -> None:
    names = {path: path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "tests").rglob("*.py"))}
    found = {name: n for path, name in names.items() if (n := sleeps(path))}
    assert found == {name: number for name, (number, _) in SLEEPS.items()}, "wait with tests.waiting.until instead"
