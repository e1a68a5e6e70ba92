"""How components are ablated: interventions on native hooks, calibration, verification."""

from ablate2tune.ablation.calibration import Means, collect_means, recorded, site_keys
from ablate2tune.ablation.directions import learn_directions, load_directions
from ablate2tune.ablation.interventions import Ablation, Support, ablated, ablated_rows
from ablate2tune.ablation.modes import Mode
from ablate2tune.ablation.pipelines import ablated_parts
from ablate2tune.ablation.verification import Verification, verify

__all__ = [
    "Ablation",
    "Means",
    "Mode",
    "Support",
    "Verification",
    "ablated",
    "ablated_parts",
    "ablated_rows",
    "collect_means",
    "learn_directions",
    "load_directions",
    "recorded",
    "site_keys",
    "verify",
]
