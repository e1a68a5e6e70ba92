"""Causal tracing: how much of the margin the state after each block restores, place by place.

The foil's run goes on from a state of the true caption's run, on the same noised picture (Meng et
al. 2022, arXiv:2202.05262), and the other way round. What one stream alone restores says where the
relation is carried at that depth. What both streams together leave unrestored reaches the
prediction by another way than the streams: through modulation by the pooled embedding, or by
cross-attention to the prompt.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ablate2tune.ablation import MODES
from ablate2tune.components import Component
from ablate2tune.localize.findings.finding import FINDINGS, Finding, Kind, Ranked
from ablate2tune.localize.findings.follow_up import FollowUp
from ablate2tune.localize.measuring.condition import Condition
from ablate2tune.localize.ranking.figures import bounds_of, new_figure, write_figure
from ablate2tune.statistics.resampling import corrected

SCHEMA = "ablate2tune/tracing/1"
ALL = "all streams"
STREAMS = ("text", "image")


def find_tracing(
    follow_up: FollowUp, blocks: Sequence[Component], phrases: Sequence[str]
) -> Finding:
    """Put the state after each block in: all streams, each alone, and phrases of the text.

    Args:
        follow_up: measures the conditions; its examples have the masks of the phrases.
        blocks: after which to put states in.
        phrases: whose text positions are traced alone.
    """
    marks = {ALL: "", **{name: f"@{name}" for name in STREAMS}}
    marks |= {phrase: f"@tokens={phrase}" for phrase in phrases}
    wanted = {
        (block.address, place): Condition((f"{block.address}{marks[place]}",), "trace")
        for block in blocks
        for place in marks
    }
    left_out = follow_up.sweep.probe.impossible(list(wanted.values()))
    cells = {key: c for key, c in wanted.items() if c.addresses[0] not in left_out}
    follow_up.measure(cells.values())
    rows = [_row(follow_up, key, condition) for key, condition in cells.items()]
    for row, p in zip(rows, corrected([row["p_uncorrected"] for row in rows]), strict=True):
        row["p"] = p
    data = {
        "schema": SCHEMA,
        "figure": "share of the target margin that the state after a block restores",
        "confidence": follow_up.confidence,
        "groups": len(follow_up.groups),
        "blocks": [block.address for block in blocks],
        "places": list(marks),
        "states": rows,
        "left_out": left_out,
    }
    return Finding("tracing", data, draw_tracing, _message(data))


def _row(follow_up: FollowUp, key: tuple[str, str], condition: Condition) -> dict[str, Any]:
    block, place = key
    margin = follow_up.margins(follow_up.baseline).target
    impact = follow_up.impacts(condition)
    return {
        "address": condition.addresses[0],
        "block": block,
        "place": place,
        "recovered": follow_up.share(impact.target, margin),
        "corrupted": follow_up.share(impact.quality, margin),
        "p_uncorrected": follow_up.p(impact.target),
    }


def recovered_cells(data: dict[str, Any]) -> np.ndarray:
    """Recovered shares with their bounds: float (places, blocks, 3); nan where there are none."""
    cells = np.full((len(data["places"]), len(data["blocks"]), 3), np.nan)
    for row in data["states"]:
        place = data["places"].index(row["place"]), data["blocks"].index(row["block"])
        cells[place] = bounds_of([row["recovered"]])[:, 0]
    return cells


def _message(data: dict[str, Any]) -> str:
    cells = recovered_cells(data)[:, :, 0]
    text, image = (cells[data["places"].index(name)] for name in STREAMS)
    if np.isfinite(text).any() and np.isfinite(image).any():
        past = np.flatnonzero(np.nan_to_num(image) >= np.nan_to_num(text))
        where = f"from {data['blocks'][past[0]]} on" if len(past) else "after no block"
        return f"tracing: the image stream restores more of the margin than the text stream {where}"
    whole = cells[data["places"].index(ALL)]
    if not np.isfinite(whole).any():
        return "tracing: no block's state could be put in"
    best = int(np.nanargmax(whole))
    return (
        f"tracing: the state after {data['blocks'][best]} restores most, {whole[best]:.0%} of the "
        "margin"
    )


def draw_tracing(data: dict[str, Any], path: Path) -> None:
    """A line over depth for every place, with intervals."""
    figure, axes = new_figure(max(6, 2 + 0.35 * len(data["blocks"])), 4.5)
    x = np.arange(len(data["blocks"]))
    for place, (value, low, high) in zip(
        data["places"], 100 * recovered_cells(data).transpose(0, 2, 1), strict=True
    ):
        if np.isfinite(value).any():
            (line,) = axes.plot(x, value, marker="o", markersize=3, label=place)
            axes.fill_between(x, low, high, color=line.get_color(), alpha=0.12)
    for level in (0, 100):
        axes.axhline(level, color="0.6", linewidth=0.8)
    axes.set_xticks(x, data["blocks"], rotation=45, ha="right", fontsize=7)
    axes.set_ylabel("margin restored by the state after the block, %")
    if data["states"]:
        axes.legend(fontsize=8)
    write_figure(figure, path)


def _find(ranked: Ranked) -> Finding:
    return find_tracing(ranked.follow_up, ranked.blocks, ranked.config.tokens)


FINDINGS.add("tracing", Kind(lambda ranked: MODES[ranked.config.mode].restores, _find))
