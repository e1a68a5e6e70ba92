"""The head level: every head of the top blocks' attentions, and the layer by head heat map."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ablate2tune.ablation import MODES
from ablate2tune.components import Component, heads_of
from ablate2tune.components.selections import parse
from ablate2tune.localize.findings.finding import FINDINGS, Finding, Kind, Ranked
from ablate2tune.localize.measuring.condition import Condition
from ablate2tune.localize.ranking.figures import write_heatmap
from ablate2tune.localize.ranking.row import Row

SCHEMA = "ablate2tune/heads/3"
PERCENT, NATS = "% of the baseline's margin", "nats"


def head_conditions(
    attentions: Iterable[Component], mode: str
) -> tuple[list[tuple[Component, Condition]], dict[str, str]]:
    """Every head with the condition that ablates it alone, in both streams where there are two.

    Args:
        attentions: sub-layers; others than attentions are passed over.
        mode: what becomes of a head's output.

    Returns:
        The heads; and attentions whose heads cannot be told apart, with the reason.
    """
    heads: list[tuple[Component, Condition]] = []
    left_out: dict[str, str] = {}
    for attention in attentions:
        if attention.role != "attention":
            continue
        if isinstance(attention.heads, str):
            left_out[f"{attention.address}[heads=*]"] = attention.heads
        elif attention.heads is not None:
            heads += [(head, Condition((head.address,), mode)) for head in heads_of(attention)]
    return heads, left_out


def heads_finding(rows: Sequence[Row], order: Sequence[str], unit: str = PERCENT) -> Finding:
    """The layer by head table of target impacts, from the ranking.

    Args:
        rows: the ranking; rows of other levels are passed over.
        order: addresses of all attentions in model order.
        unit: what the picture shows impacts in: shares of the baseline's margin, or the margin's
            own unit.
    """
    own = [row for row in rows if row.component.level == "head"]
    swept = {row.component.parent for row in own}
    best = min(own, key=lambda row: row.rank_in_level)
    data = {
        "schema": SCHEMA,
        "unit": unit,
        "figure": f"target impact: margin {MODES[best.mode].effect} the head",
        "attentions": [address for address in order if address in swept],
        "heads": [
            {
                "address": row.component.address,
                "attention": row.component.parent,
                "head": parse(row.component.address).indices[0],
                "mode": row.mode,
                "rank_in_level": row.rank_in_level,
                "target": row.target,
                "relative": row.relative["target"],
                "p": row.p,
                "label": row.label,
            }
            for row in own
        ],
    }
    message = f"heads: of {len(own)}, {best.component.address} matters most ({best.label})"
    return Finding("heads", data, draw_heads, message)


def head_cells(data: dict[str, Any]) -> np.ndarray:
    """Target impacts in the table's unit: float (attentions, heads), nan where none."""
    width = 1 + max(row["head"] for row in data["heads"])
    cells = np.full((len(data["attentions"]), width), np.nan)
    for row in data["heads"]:
        if data["unit"] != PERCENT or row["relative"] is not None:
            place = data["attentions"].index(row["attention"])
            own = row["target"]["value"] if data["unit"] != PERCENT else 100 * row["relative"]
            cells[place, row["head"]] = own
    return cells


def draw_heads(data: dict[str, Any], path: Path) -> None:
    """The layer by head heat map."""
    cells = head_cells(data)
    columns = [str(head) for head in range(cells.shape[1])]
    title = data["figure"].replace("impact: ", "")
    digits = 0 if data["unit"] == PERCENT else 2
    write_heatmap(cells, data["attentions"], columns, title, data["unit"], path, digits=digits)


def _wanted(ranked: Ranked) -> bool:
    return any(row.component.level == "head" for row in ranked.rows)


def _find(ranked: Ranked) -> Finding:
    order = [part.address for part in ranked.sweep.catalogue]
    return heads_finding(ranked.rows, order, NATS if ranked.sweep.probe.language else PERCENT)


FINDINGS.add("heads", Kind(_wanted, _find))
