"""Reports what a drill or a rehearsal has shown, as figures and as one page for an auditor."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

#: The objectives, in seconds.
RPO, RTO = 60.0, 300.0


@dataclass(frozen=True, kw_only=True)
class Score:
    """The result of one drill or rehearsal. Times in seconds.

    - `rpo`: newest acknowledged write minus newest restored one.
    - `first_answer`, `full_capacity`: from the fault to the first correct answer, and until everything runs.
    - `different`: questions answered otherwise than before, of `asked`.
    - `corrupt`: files whose bytes were not the expected ones.
    - `human_actions`: what a person had to do.
    - `lost_events`: of those acknowledged some seconds before the fault, so that the replicator had its time.
    """

    kind: str
    fault: str
    at: datetime
    region: str
    snapshot: str
    epoch: int
    rpo: float
    first_answer: float
    full_capacity: float
    lost_rows: int
    lost_events: int
    asked: int
    different: int
    corrupt: int
    human_actions: int
    steps: Mapping[str, Mapping[str, Any]]
    problems: tuple[str, ...] = ()
    rto: float = RTO  # the first answer is wanted within so many seconds

    def failures(self) -> list[str]:
        """Return what is wrong; empty when all is well."""
        found = list(self.problems)
        if self.rpo > RPO:
            found.append(f"{self.rpo:.0f} s of writes are missing, more than {RPO:.0f}")
        if self.first_answer > self.rto:
            found.append(f"the first answer came after {self.first_answer:.0f} s, later than {self.rto:.0f}")
        if self.lost_events:
            found.append(f"{self.lost_events} events that were acknowledged seconds before the fault are missing")
        if self.different:
            found.append(f"{self.different} of {self.asked} questions were answered otherwise than before")
        if self.corrupt:
            found.append(f"{self.corrupt} files were corrupt")
        if not self.asked:
            found.append("nothing was asked")
        return found

    def facts(self) -> dict[str, Any]:
        """Return the score as JSON values, for programs."""
        return asdict(self) | {"at": self.at.isoformat(), "failures": self.failures()}


def write_score(score: Score, folder: Path) -> Path:
    """Write `<kind>-<time>.json` and `.html` below `folder`; return the path of the page."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{score.kind}-{score.at:%Y%m%dT%H%M%S}.html"
    path.with_suffix(".json").write_text(json.dumps(score.facts(), indent=1))
    path.write_text(page(score))
    return path


def read_scores(folder: Path) -> list[dict[str, Any]]:
    """Return the facts of every score that was kept, newest first."""
    found = [json.loads(path.read_text()) for path in folder.glob("*.json")]
    return sorted(found, key=lambda facts: str(facts["at"]), reverse=True)


def page(score: Score) -> str:
    """Render one HTML page that loads nothing from elsewhere."""
    failures = score.failures()
    verdict = "Nothing was lost beyond the aims" if not failures else "Not as it should be"
    in_time = score.first_answer <= score.rto
    tiles = [
        ("Writes lost (RPO)", f"{score.rpo:.1f} s", f"aim {RPO:.0f} s", score.rpo <= RPO),
        ("First answer (RTO)", f"{score.first_answer:.0f} s", f"aim {score.rto:.0f} s", in_time),
        ("Full capacity", f"{score.full_capacity:.0f} s", "engines of a canary too", True),
        ("Answers as before", f"{score.asked - score.different} of {score.asked}", "same items, same release",
         score.asked > 0 and not score.different),
        ("Rows lost", str(score.lost_rows), "of the ledger, counted", True),
        ("Events lost", str(score.lost_events), "acknowledged, counted", not score.lost_events),
        ("Corrupt files", str(score.corrupt), "of all that was restored", not score.corrupt),
        ("Human actions", str(score.human_actions), "needed", True),
    ]  # fmt: skip
    longest = max((float(about["seconds"]) for about in score.steps.values()), default=1.0) or 1.0
    rows = "".join(_row(name, about, longest) for name, about in score.steps.items())
    said = "".join(f"<li>{html.escape(text)}</li>" for text in failures)
    return _PAGE.format(
        title=html.escape(f"{score.kind.capitalize()} of {score.at:%Y-%m-%d %H:%M} UTC"),
        state="well" if not failures else "ill",
        verdict=verdict,
        failures=f"<ul>{said}</ul>" if said else "",
        about=html.escape(
            f"{score.fault}. The {score.region} was restored from {score.snapshot}"
            + (f"; epoch {score.epoch} began." if score.epoch else ".")
        ),
        tiles="".join(_tile(name, value, note, well=well) for name, value, note, well in tiles),
        rows=rows,
        facts=html.escape(json.dumps(score.facts(), indent=1)),
    )


def _tile(name: str, value: str, note: str, *, well: bool) -> str:
    kind = "" if well else " class='ill'"
    return f"<div{kind}><span>{name}</span><b>{html.escape(value)}</b><small>{note}</small></div>"


def _row(name: str, about: Mapping[str, Any], longest: float) -> str:
    seconds = float(about["seconds"])
    return (
        f"<tr><th>{html.escape(name)}</th><td class='n'>{seconds:.1f} s</td>"
        f"<td class='bar'><i style='width:{100 * seconds / longest:.1f}%'></i></td>"
        f"<td>{html.escape(str(about['said']))}</td></tr>"
    )


def table(scores: Sequence[dict[str, Any]]) -> str:
    """Render many scores as a Markdown table, oldest first."""
    lines = ["| when | fault | RPO s | first answer s | full s | answers | rows lost | green |", "|" + "---|" * 8]
    for facts in sorted(scores, key=lambda one: str(one["at"])):
        green = "yes" if not facts["failures"] else "; ".join(facts["failures"])
        answers = f"{facts['asked'] - facts['different']} of {facts['asked']}"
        lines.append(
            f"| {str(facts['at'])[:16].replace('T', ' ')} | {facts['fault']} | {facts['rpo']:.1f} | "
            f"{facts['first_answer']:.0f} | {facts['full_capacity']:.0f} | {answers} | {facts['lost_rows']} | {green} |"
        )
    return "\n".join(lines)


_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
:root {{ color-scheme: light dark; --ink: #1d2530; --dim: #667384; --line: #d9dfe7; --ground: #fff; --tile: #f5f7fa;
  --well: #1a7f4b; --ill: #b3261e; --bar: #7aa5d8; }}
@media (prefers-color-scheme: dark) {{ :root {{ --ink: #e8edf3; --dim: #9aa7b7; --line: #323c49; --ground: #14191f;
  --tile: #1d242d; --well: #5cc98d; --ill: #ff8a80; --bar: #44688f; }} }}
body {{ font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--ground); margin: 2.5rem auto;
  max-width: 60rem; padding: 0 1.5rem; }}
h1 {{ font-size: 1.5rem; margin: 0; }} .verdict {{ font-size: 1.15rem; font-weight: 600; margin: .2rem 0 0; }}
.well .verdict {{ color: var(--well); }} .ill .verdict, .tiles .ill b {{ color: var(--ill); }}
.about {{ color: var(--dim); margin: .3rem 0 1.5rem; }}
.tiles {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(13rem, 1fr)); gap: .8rem; }}
.tiles div {{ background: var(--tile); border-radius: .5rem; padding: .8rem 1rem; }}
.tiles span, .tiles small {{ display: block; color: var(--dim); }} .tiles b {{ font-size: 1.4rem; }}
table {{ border-collapse: collapse; width: 100%; margin: 1.8rem 0; }}
th, td {{ text-align: left; padding: .35rem .6rem; border-top: 1px solid var(--line); vertical-align: top; }}
th {{ font-weight: 600; }} .n {{ text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }}
.bar {{ width: 9rem; }} .bar i {{ display: block; height: .6rem; margin-top: .45rem; border-radius: .3rem;
  background: var(--bar); min-width: 2px; }}
pre {{ background: var(--tile); padding: 1rem; border-radius: .5rem; overflow: auto; font-size: 13px; }}
summary {{ color: var(--dim); cursor: pointer; }}
</style>
<body class="{state}"><h1>{title}</h1><p class="verdict">{verdict}</p>{failures}
<p class="about">{about}</p>
<div class="tiles">{tiles}</div>
<table>{rows}</table>
<details><summary>The same as JSON</summary><pre>{facts}</pre></details>
</body></html>
"""
