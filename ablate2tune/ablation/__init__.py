"""How components are ablated: interventions on native hooks, calibration, verification."""

from ablate2tune.ablation.edits import Ablation
from ablate2tune.ablation.interventions import ablated, ablated_rows
from ablate2tune.ablation.mode import MODES, Mode
from ablate2tune.ablation.pipelines import ablated_parts
from ablate2tune.ablation.support.directions import learn_directions, load_directions
from ablate2tune.ablation.support.means import Means
from ablate2tune.ablation.support.recording import collect_means, recorded, site_keys
from ablate2tune.ablation.support.support import Support
from ablate2tune.ablation.verification import Verification, verify

__all__ = [
    "MODES",
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
