"""Ablations written into the weights, so that stock transformers loads them.

>>> lm = load_language_model(ModelConfig(path="MODEL"))  # doctest: +SKIP
>>> ablations = [Ablation("model.layers.3", "skip")]  # doctest: +SKIP
>>> write_checkpoint(bake(lm, ablations, prune=True), lm, ablations, Path("DIR"))  # doctest: +SKIP
"""

from ablate2tune.bake.baking import Baked, Comparison, bake
from ablate2tune.bake.checkpoint import write_checkpoint
from ablate2tune.bake.finding_direction import find_direction

__all__ = ["Baked", "Comparison", "bake", "find_direction", "write_checkpoint"]
