"""Which adapter serves which pipeline class of diffusers."""

from ablate2tune.pipelines.denoiser import Denoiser
from ablate2tune.pipelines.flux import FluxDenoiser

FAMILIES: dict[str, type[Denoiser]] = {"FluxPipeline": FluxDenoiser}
"""Adapters by the name of the pipeline class."""
