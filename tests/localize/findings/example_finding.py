"""A finding of another package: impacts of the blocks in the order in which they are computed."""

from pathlib import Path
from typing import Any

from ablate2tune.localize.findings.finding import FINDINGS, Finding, Kind, Ranked
from ablate2tune.localize.ranking.figures import bounds_of, new_figure, write_figure


def profile(ranked: Ranked) -> Finding:
    """What is lost without each block, first to last."""
    lost = {row.component.address: row.ranked for row in ranked.rows}
    order = [block.address for block in ranked.blocks if block.address in lost]
    data = {"schema": "my-extension/profile/1", "blocks": order, "lost": [lost[a] for a in order]}
    return Finding("profile", data, draw, f"profile.png: {len(order)} blocks, first to last")


def draw(data: dict[str, Any], path: Path) -> None:
    """A line with its intervals."""
    figure, axes = new_figure(6, 3)
    value, low, high = bounds_of(data["lost"])
    axes.vlines(range(len(value)), low, high, alpha=0.3)
    axes.plot(value, "o-")
    axes.set_xlabel("block")
    write_figure(figure, path)


FINDINGS.add("profile", Kind(lambda ranked: bool(ranked.rows), profile, of_skill=False))
