"""The section `gpt`."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from ablate2tune.settings import Mark, Positive, Settings


class GptConfig(Settings):
    """A small GPT over bytes, and how it is trained; each key can be an axis of a study."""

    text: Annotated[Path | None, Mark.CONTENT] = None
    """A text file or a folder of them; by default the Python sources of the standard library that
    this package runs on. The last tenth is validated on."""
    megabytes: Annotated[float, Field(gt=0)] = 4.0
    """The text is cut to so many, files in the order of their names."""
    layers: Positive = 2
    heads: Positive = 4
    """The width of a head is the model's width over them."""
    width: Positive = 64
    """Channels of the residual stream. The MLP's hidden width follows: four times as many, and for
    swiglu 8/3 (Shazeer 2020, arXiv:2002.05202), so that its three matrices hold as many parameters
    as the two of the others."""
    context: Annotated[int, Field(ge=2)] = 64
    """Bytes that a prediction can look at."""
    activation: Literal["relu", "gelu", "swiglu"] = "gelu"
    norm: Literal["layernorm", "rmsnorm"] = "layernorm"
    position: Literal["pre", "post"] = "pre"
    """Where norms stand: before each branch, or behind the sum, as in the original Transformer."""
    match: Literal["none", "parameters", "flops"] = "none"
    """In a study: settings get the width at which they have as many parameters outside embeddings
    as the recipe's own, or take as many FLOPs a byte."""
    steps: Positive = 400
    batch_size: Positive = 16
    learning_rate: Annotated[float, Field(gt=0)] = 2e-3
    """Its peak; a cosine leads down to a tenth of it."""
    warmup: Annotated[int, Field(ge=0)] = 40
    weight_decay: Annotated[float, Field(ge=0)] = 0.1
    """Of matrices; none of norms and biases."""
    validate_every: Positive = 50
    validation_windows: Positive = 64
    """Stretches of `context` bytes, evenly spread over the validation text."""
    checkpoint_every: Annotated[Positive, Mark.STEERS] = 200

    @property
    def hidden(self) -> int:
        """Hidden width of the MLP: for swiglu 8/3 of the width, rounded up to a multiple of 8."""
        return -(-8 * self.width // 24) * 8 if self.activation == "swiglu" else 4 * self.width

    @model_validator(mode="after")
    def _check_heads(self) -> "GptConfig":
        if self.width % self.heads:
            raise ValueError(f"width = {self.width} is not a multiple of heads = {self.heads}")
        return self
