"""Token positions: at which phrase's text positions does each block matter?"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ablate2tune.ablation import MODES
from ablate2tune.components import Component
from ablate2tune.localize.findings.finding import FINDINGS, Finding, Kind, Ranked
from ablate2tune.localize.findings.follow_up import FollowUp
from ablate2tune.localize.measuring.condition import Condition
from ablate2tune.localize.ranking.figures import write_heatmap
from ablate2tune.statistics.resampling import corrected

SCHEMA = "ablate2tune/tokens/2"


def find_tokens(
    follow_up: FollowUp, blocks: Sequence[Component], phrases: Sequence[str]
) -> Finding:
    """Skip each block at the text positions of one phrase, everywhere else it acts as ever.

    Args:
        follow_up: measures the conditions; its examples have the masks of the phrases.
        blocks: what to skip in part.
        phrases: at which positions.
    """
    wanted = {
        (block.address, phrase): Condition((f"{block.address}@tokens={phrase}",), "skip")
        for block in blocks
        for phrase in phrases
    }
    left_out = follow_up.sweep.probe.impossible(list(wanted.values()))
    cells = {key: c for key, c in wanted.items() if c.addresses[0] not in left_out}
    follow_up.measure(cells.values())
    impacts = {key: follow_up.impacts(condition) for key, condition in cells.items()}
    baseline = follow_up.means(follow_up.margins(follow_up.baseline))
    margin = baseline["target"]
    uncorrected = [follow_up.p(impact.target) for impact in impacts.values()]
    rows = [_row(key, follow_up.means(impact)) for key, impact in impacts.items()]
    for row, p, raw in zip(rows, corrected(uncorrected), uncorrected, strict=True):
        row |= {"p": p, "p_uncorrected": raw}
    data = {
        "schema": SCHEMA,
        "figure": "margin lost when the block is skipped at the phrase's text positions alone",
        "confidence": follow_up.confidence,
        "groups": len(follow_up.groups),
        "baseline": margin,
        "blocks": [block.address for block in blocks],
        "phrases": list(phrases),
        "positions": rows,
        "left_out": left_out,
    }
    finite = [row for row in rows if row["target"] is not None]
    message = "tokens: no block could be skipped at text positions"
    if finite:
        best = max(finite, key=lambda row: row["target"]["value"])
        told = "told" if best["p"] < 1 - follow_up.confidence else "not told"
        message = (
            f"tokens: {best['block']} matters most at the {best['phrase']}'s text positions "
            f"({told} from zero)"
        )
    return Finding("tokens", data, draw_tokens, message)


def _row(key: tuple[str, str], figures: Mapping[str, Any]) -> dict[str, Any]:
    block, phrase = key
    return {"address": f"{block}@tokens={phrase}", "block": block, "phrase": phrase, **figures}


def token_cells(data: dict[str, Any]) -> np.ndarray:
    """Spatial impacts, % of the baseline's margin: float (blocks, phrases), nan where none."""
    cells = np.full((len(data["blocks"]), len(data["phrases"])), np.nan)
    for row in data["positions"]:
        if row["target"] is not None:
            place = data["blocks"].index(row["block"]), data["phrases"].index(row["phrase"])
            cells[place] = 100 * row["target"]["value"] / data["baseline"]["value"]
    return cells


def draw_tokens(data: dict[str, Any], path: Path) -> None:
    """The block by phrase heat map."""
    write_heatmap(
        token_cells(data),
        data["blocks"],
        data["phrases"],
        "target margin lost without the block at these text positions",
        "% of the baseline's margin",
        path,
    )


def _wanted(ranked: Ranked) -> bool:
    restores = MODES[ranked.config.mode].restores
    return bool(ranked.config.tokens) and not restores  # tracing has them as places


def _find(ranked: Ranked) -> Finding:
    return find_tokens(ranked.follow_up, ranked.blocks, ranked.config.tokens)


FINDINGS.add("tokens", Kind(_wanted, _find))
