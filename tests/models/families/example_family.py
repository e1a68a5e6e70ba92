"""A family of another package: FLUX.1 Kontext, without a picture to edit."""

from typing import Any

from ablate2tune.models.families.flux import FluxDenoiser
from ablate2tune.models.family_registry import serves


@serves("FluxKontextPipeline")
class Kontext(FluxDenoiser):
    """A FLUX.1 in another pipeline, which would draw a million pixels whatever it is asked for."""

    def _call_arguments(self) -> dict[str, Any]:
        return super()._call_arguments() | {"max_area": self.config.height * self.config.width}
