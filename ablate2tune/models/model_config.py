"""The section `model`."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from ablate2tune.settings import Mark, Positive, Settings

Device = Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")]


class ModelConfig(Settings):
    """The model that is studied and tuned."""

    later: ClassVar[frozenset[str]] = frozenset(("quantize",))

    path: Annotated[str, Mark.CONTENT]
    """A diffusers pipeline directory or a hub name ("black-forest-labs/FLUX.1-dev")."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Inference dtype of the frozen base; adapters are always float32."""
    quantize: Literal["int8", "fp8", "nf4"] | None = None
    """Keep the weights of the denoiser's blocks in 8 or 4 bits, and multiply in `dtype`; adapters
    stay float32."""
    device: Annotated[Device, Mark.STEERS] = "auto"
    """auto, cpu, mps, cuda or cuda:N."""
    height: Positive = 64
    """Image height in pixels."""
    width: Positive = 64
    """Image width in pixels."""
    max_sequence_length: Positive | None = None
    """Tokens the long text encoder pads to; the stock pipeline's default (FLUX: 512) if not set."""
    guidance_scale: float = 3.5
    """The stock call's `guidance_scale` when sampling: the guidance embedding's value for models
    that have one (FLUX), the scale of classifier-free guidance for others."""
    trust_remote_code: Annotated[bool, Mark.STEERS] = False

    @property
    def mend_not_finite(self) -> str:
        """What to do where what the model gives is not finite."""
        if self.dtype == "float32":
            return "check the model's weights"
        return "use model.dtype=float32" + ", or bfloat16" * (self.dtype == "float16")
