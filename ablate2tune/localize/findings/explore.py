"""What follows the ranking and never changes it: tables of it, joint conditions, pictures."""

from collections.abc import Sequence
from pathlib import Path

from ablate2tune.ablation import MODES
from ablate2tune.components import Component
from ablate2tune.contrasts.contrast import Contrast
from ablate2tune.localize.findings.follow_up import Finding, FollowUp
from ablate2tune.localize.findings.head_table import heads_finding
from ablate2tune.localize.findings.joint import find_circuits
from ablate2tune.localize.findings.strips import make_strips
from ablate2tune.localize.findings.timesteps import timesteps_finding
from ablate2tune.localize.findings.token_positions import find_tokens
from ablate2tune.localize.findings.tracing import find_tracing
from ablate2tune.localize.measuring.sweep import Sweep
from ablate2tune.localize.probes.margin import MarginProbe
from ablate2tune.localize.ranking.ranking import Analysis, Row
from ablate2tune.models import Denoiser


def explore(
    denoiser: Denoiser,
    sweep: Sweep[MarginProbe],
    analysis: Analysis,
    rows: Sequence[Row],
    blocks: Sequence[Component],
    contrasts: Sequence[Contrast],
    folder: Path,
) -> list[Finding]:
    """Everything beside the ranking that the recipe asks for.

    Without a skill nothing is measured: there is no margin that could be lost.

    Args:
        denoiser: the model.
        sweep: after the ranking.
        analysis: its statistics.
        rows: the ranking, all levels.
        blocks: those that can be ablated.
        contrasts: the measured ones.
        folder: of the stage.
    """
    config = sweep.config
    found: list[Finding] = []
    if not (rows and analysis.has_skill):
        return found
    found.append(timesteps_finding(analysis, rows, config.sigmas))
    if any(row.component.level == "head" for row in rows):
        found.append(heads_finding(rows, [part.address for part in sweep.catalogue]))
    follow_up = FollowUp(sweep, analysis.groups)
    if MODES[config.mode].restores:
        found.append(find_tracing(follow_up, blocks, config.tokens))
    elif config.tokens:
        found.append(find_tokens(follow_up, blocks, config.tokens))
    found += find_circuits(follow_up, rows)
    if config.strips and sweep.processes.is_first:
        found.append(make_strips(denoiser, sweep, rows, _captions(sweep, contrasts), folder))
    return found


def _captions(sweep: Sweep[MarginProbe], contrasts: Sequence[Contrast]) -> list[str]:
    """True captions of the groups that the sweep would spend first, one each."""
    first: dict[str, str] = {}
    for contrast in contrasts:
        first.setdefault(contrast.cluster, contrast.text)
    return [first[group] for group in sweep.order()[: sweep.config.strip_prompts]]
