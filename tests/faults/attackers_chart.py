"""Writes what attackers forge into docs/canary.md, with a chart of the curves beside it."""

from __future__ import annotations

from pathlib import Path

from tests.faults.canary_attackers import ATTACKS, BEGIN, END, POLICY, SHARES, Forged

CHART = "images/canary-attackers.svg"


def write(page: Path, text: str, found: dict[str, list[Forged]]) -> None:
    """Replace the region between the marks of the page, and the chart."""
    head, _, rest = page.read_text().partition(BEGIN)
    _, mark, tail = rest.partition(END)
    if not mark:
        raise ValueError(f"{page} has no region between {BEGIN!r} and {END!r}")
    shown = f"![Forged verdicts by the attackers' share of an arm]({CHART})"
    page.write_text(f"{head}{BEGIN}\n\n{shown}\n\n{text}\n\n{END}{tail}")
    draw(page.parent / CHART, found)


def draw(path: Path, found: dict[str, list[Forged]]) -> None:
    """Draw forged verdicts by the attackers' share; dashed: each of them at an address of their own."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.6), layout="constrained")
    FigureCanvasSVG(figure)
    panels = figure.subplots(1, 2, sharey=True)
    colors = ("#c8553d", "#4f7cac", "#6a994e")
    marks = [100 * share for share in SHARES]
    for axes, aim, line in zip(panels, ("ABORT", "PROMOTE"), (POLICY.alpha, POLICY.beta), strict=True):
        for attack, color in zip((a for a in ATTACKS if a.aim == aim), colors, strict=False):
            rows = found[attack.says]
            axes.plot(marks, [100 * f.few / f.releases for f in rows], "o-", color=color, ms=4, label=attack.says)
            axes.plot(marks, [100 * f.spread / f.releases for f in rows], "--", color=color, lw=1)
        axes.axhline(100 * line, color="#888888", lw=0.8, ls=":")
        axes.set_title(f"forged {aim}; dotted: 1 %; dashed: an address each", fontsize=9)
        axes.set_xlabel("attackers, % of an arm")
        axes.set_ylim(-2, 102)
        axes.legend(fontsize=7, frameon=False, loc="center right")
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("% of releases")
    path.parent.mkdir(parents=True, exist_ok=True)
    with rc_context({"svg.hashsalt": "attackers"}):  # the same figures give the same file
        figure.savefig(path, metadata={"Date": None})
