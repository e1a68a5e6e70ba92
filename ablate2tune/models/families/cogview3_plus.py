"""CogView3+."""

from ablate2tune.models.denoiser import Denoiser
from ablate2tune.models.family_registry import serves


@serves("CogView3PlusPipeline")
class CogView3PlusDenoiser(Denoiser):
    """CogView3+: T5 without a mask; predicts v."""
