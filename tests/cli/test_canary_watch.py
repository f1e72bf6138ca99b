"""`caravan canary watch`: what an engineer sees at 80 columns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from rich.console import Console, RenderableType
from typer.testing import CliRunner

from caravan.cli.main import app
from caravan.cli.release.canary import follow
from caravan.cli.release.canary_frame import bar, frame
from contracts.release import NOTES
from contracts.settings import Settings
from releases.overview import Overview, let_by
from releases.rollout.region import EngineReadiness
from releases.rollout.routing_wait import Beat
from serving.edge.edge import TrafficSplit
from tests.cli import frames


def shown(picture: RenderableType, width: int = 80) -> str:
    console = Console(width=width, color_system=None)
    with console.capture() as captured:
        console.print(picture)
    return captured.get()


def line(text: str, start: str) -> str:
    return next(each for each in text.splitlines() if each.startswith(start))


def test_a_running_canary_on_one_page_of_80_columns() -> None:
    text = shown(frame(frames.running()))
    assert max(map(len, text.splitlines())) <= 80
    assert len(text.splitlines()) <= 32
    assert "canary_25 for 22 min" in line(text, "release")
    assert "3 of 4" in line(text, "step")
    assert "412/1000 shoppers" in line(text, "step")
    assert "22 min of 60 min" in line(text, "step")
    assert "control 25 %" in text
    assert "rest 50 % on champion" in text
    assert line(text, "errors").split()[1:3] == ["1/418", "1/412"]
    assert line(text, "errors").rstrip().endswith("ok")
    assert "no answer (ConnectError)" in text
    assert "this release" in text
    assert "reviewer" in line(text, "05-04 02:35:05  (approval)")
    assert "FROZEN" not in text
    assert "silent" not in text


def test_harm_is_named_and_so_is_what_is_waited_for() -> None:
    text = shown(frame(frames.running(errors=25)))
    assert line(text, "errors").rstrip().endswith("HARM")
    assert "██████" in line(text, "errors")
    assert "rolled_back" in line(text, "release")
    assert "abort: errors" in line(text, "ended")
    assert "waiting: outcomes" in line(shown(frame(frames.running(late="clicks"))), "clicks")
    assert "proven" in line(shown(frame(frames.running(shoppers=1500))), "timeouts")


def test_a_freeze_and_a_silent_controller_are_seen_first() -> None:
    held = frames.row(
        "frozen", actor="oncall", reason="sale [weekend]", evidence={"until": "2026-05-05T12:00:00+00:00"}
    )
    beat = Beat(at=frames.NOW.timestamp() - 12, doing="canary_25: hold")
    text = shown(frame(replace(frames.running(), frozen=held, beat=beat))).splitlines()
    assert "FROZEN until 05-05 12:00 UTC (32 h 48 min) by oncall: sale [weekend]" in text[1]
    assert "silent for 12 s" in text[2]


def test_before_anything_there_is_a_page_too() -> None:
    nothing = {
        slot: EngineReadiness(reason="no answer (ConnectError)") for slot in ("champion", "control", "canary", "former")
    }
    empty = Overview(
        at=frames.NOW, region="primary", source="shop", champion=None, former=None, split=None, engines=nothing,
        beat=None, frozen=None, subject=None, moves=[],
    )  # fmt: skip
    text = shown(frame(empty))
    assert "the edge has no routes yet" in text
    assert "nothing moves a release" in text
    assert "has left no heartbeat here" in text
    beat = Beat(at=frames.NOW.timestamp() - 0.5, doing="no release is in progress")
    assert "no release is in progress" in line(shown(frame(replace(empty, beat=beat))), "now")


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("share", [1, 5, 25, 50])
def test_no_line_is_longer_than_the_terminal(width: int, share: int) -> None:
    seen = replace(frames.running(share=share), split=TrafficSplit(control=share, rest=100 - 2 * share, canary=share))
    assert max(map(len, shown(frame(seen), width).splitlines())) <= width
    assert "▓" in shown(frame(seen), width)


def test_an_engines_refusal_is_told() -> None:
    seen = frames.running()
    engines = {**seen.engines, "canary": EngineReadiness(refused=frames.CANARY, reason="its signature does not fit")}
    text = shown(frame(replace(seen, engines=engines)))
    assert "canary refuses beef01222222" in text
    assert "its signature does not fit" in text


@pytest.mark.parametrize(("share", "drawn"), [(-3, "····"), (0.5, "██··"), (0.6, "██▌·"), (9, "████")])
def test_a_bar_stays_within_its_width(share: float, drawn: str) -> None:
    assert bar(share, 4, "red").plain == drawn


def test_without_a_terminal_frames_follow_each_other() -> None:
    def pictures() -> Iterator[str]:
        yield from ("one", "two")
        raise KeyboardInterrupt

    given = pictures()
    console = Console(width=80, force_terminal=False)
    with console.capture() as captured:
        follow(console, lambda: next(given), once=False, every=0)
    assert captured.get().split() == ["one", "two", "two"]


def test_who_let_a_release_as_it_stood_at_a_row() -> None:
    story = [
        frames.row("gated", sequence=1),
        frames.row("approval", sequence=2, actor="a", evidence={"approval": True}),
        frames.row("approval", sequence=3, actor="b", evidence={"approval": True}),
        frames.row("approval", sequence=4, actor="a", evidence={"approval": False}),
        frames.row("rolled_back", sequence=5),
        frames.row("approval", sequence=6, actor="c", evidence={"approval": True}),
    ]
    assert [[m.actor for m in let_by(story, until)] for until in (2, 3, 4, 5, 6)] == [
        ["a"],
        ["a", "b"],
        ["b"],
        [],
        ["c"],
    ]
    assert all(m.to_state in NOTES for m in let_by(story, 6))


@pytest.mark.stack
def test_the_command_looks_once_at_a_running_region(stack: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("caravan.cli.release.canary.settings", lambda: stack)
    result = CliRunner().invoke(app, ["canary", "watch", "--once"])
    assert result.exit_code == 0, f"{result.output} {result.exception}"
    assert "traffic" in result.output
    assert "engines" in result.output
    assert max(map(len, result.output.splitlines())) <= 80
