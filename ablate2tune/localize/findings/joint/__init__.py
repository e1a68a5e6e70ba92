"""What several components do together: each finding of the section `localize.joint`."""

from ablate2tune.localize.findings.joint.curves import find_curves
from ablate2tune.localize.findings.joint.interactions import find_pairs
from ablate2tune.localize.findings.joint.neighbours import find_neighbours
from ablate2tune.localize.findings.joint.own_conditions import find_own
from ablate2tune.localize.findings.joint.sufficient import find_sufficient

__all__ = ["find_curves", "find_neighbours", "find_own", "find_pairs", "find_sufficient"]
