"""What components do together: cumulative curves, interactions, sufficient sets, neighbours."""

from collections.abc import Sequence

from ablate2tune.localize.findings.curves import find_curves
from ablate2tune.localize.findings.follow_up import Finding, FollowUp
from ablate2tune.localize.findings.interactions import find_pairs
from ablate2tune.localize.findings.neighbours import find_neighbours
from ablate2tune.localize.findings.sufficient import find_sufficient
from ablate2tune.localize.ranking.ranking import Row

__all__ = ["find_circuits"]


def find_circuits(follow_up: FollowUp, rows: Sequence[Row]) -> list[Finding]:
    """Everything that the recipe's `localize.joint` asks for.

    Args:
        follow_up: measures joint conditions.
        rows: the ranking, all levels.

    Raises:
        UserError: fewer components than an analysis needs were ranked at its level.
    """
    joint = follow_up.sweep.config.joint

    def ranked(level: str) -> list[str]:
        own = sorted((r for r in rows if r.component.level == level), key=lambda r: r.rank_in_level)
        return [row.component.address for row in own]

    found: list[Finding] = []
    if joint.curves:
        found.append(find_curves(follow_up, ranked(joint.level), joint.level))
    if joint.pairs:
        found.append(find_pairs(follow_up, ranked(joint.level)[: joint.pairs], joint.level))
    if joint.sufficient is not None:
        found.append(find_sufficient(follow_up, ranked(joint.level), joint.level, joint.sufficient))
    if joint.neighbours:
        found.append(find_neighbours(follow_up, ranked("sublayer"), joint.neighbours))
    return found
