"""How components are ablated: interventions on native hooks, calibration, verification."""

from ablate2tune.ablation.calibration import Means, collect_means
from ablate2tune.ablation.interventions import Ablation, Mode, ablated
from ablate2tune.ablation.verification import Verification, verify

__all__ = ["Ablation", "Means", "Mode", "Verification", "ablated", "collect_means", "verify"]
