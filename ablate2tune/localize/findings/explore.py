"""What follows the ranking and never changes it: every finding that is wanted."""

from ablate2tune.localize.findings.finding import FINDINGS, Finding, Ranked


def explore(ranked: Ranked) -> list[Finding]:
    """Everything beside the ranking that the recipe asks for and the probe serves.

    Raises:
        UserError: what a finding raises: fewer components than it needs were ranked.
    """
    has_skill = bool(ranked.rows) and ranked.analysis.has_skill
    return [
        kind.find(ranked)
        for kind in FINDINGS.values()
        if kind.takes in ranked.sweep.probe.takes
        and (has_skill or not kind.of_skill)
        and kind.wanted(ranked)
    ]
