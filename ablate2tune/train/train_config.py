"""The section `train`."""

from typing import Annotated, Literal

from pydantic import Field

from ablate2tune.settings import Fraction, Mark, Positive, Settings


class TrainConfig(Settings):
    """How the adapter is trained."""

    targets: Literal["top", "bottom", "random", "all", "list"] = "top"
    """Which modules get an adapter: by rank, drawn at random, all candidates, or `modules`."""
    if_no_skill: Literal["stop", "all"] = "stop"
    """When ablation finds no skill to rank by: stop, or train all candidates instead of the top."""
    count: Positive = 8
    """Number of modules for top, bottom and random."""
    modules: list[str] = []
    """Module names or globs (`transformer_blocks.{0..3}.attn.to_*`) for targets: list."""
    draw: int = 0
    """Which random draw, for targets: random."""
    rank: Positive = 16
    """LoRA rank; alpha equals the rank, so the adapter loads at strength 1 everywhere."""
    steps: Positive = 400
    batch_size: Positive = 32
    """Images per optimizer step, over all processes."""
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    warmup: Annotated[int, Field(ge=0)] = 20
    """Steps of linear warm-up; the rate then falls along a cosine."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    timesteps: Literal["flux_shift", "logit_normal", "uniform"] = "flux_shift"
    """Density of sigma in training."""
    shift: Annotated[float, Field(gt=0)] | None = None
    """Constant shift of the noise levels; None takes it from the scheduler and resolution."""
    caption_dropout: Fraction = 0.0
    plain_captions: Fraction = 0.2
    """Fraction of training captions that leave the relation out, against forgetting."""
    guidance: float = 1.0
    """Value of the guidance embedding in training, for models that have one."""
    validate_every: Positive = 100
    validation_images: Positive = 64
    sample_every: Positive = 200
    """Steps between sample grids; one is made at step 0 as well."""
    sample_prompts: Positive = 6
    checkpoint_every: Annotated[Positive, Mark.STEERS] = 50
