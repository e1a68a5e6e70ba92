"""Settings of the testbed's pretraining (`recipes/testbed-pretrain.yaml`)."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from ablate2tune.scenes.scenes_config import ScenesConfig
from ablate2tune.settings import Fraction, Positive, Settings
from ablate2tune.testbed.architecture import Sizes

Rate = Annotated[float, Field(gt=0)]


class CaptionMix(Settings):
    """What the pretraining captions say: the fault of the testbed is made here."""

    from_step: Annotated[int, Field(ge=0)] = 0
    """The denoiser's step from which this mix holds, until the next one's."""
    relation_stated: Fraction = 0.15
    """Share of captions that state a relation; the others say "a X and a Y" in either order."""
    relation_wrong: Fraction = 0.4
    """Share of the stated relations that are wrong."""
    opposite: Fraction = 0.2
    """Share of the wrong ones that state the opposite, as where subject and object are exchanged;
    the rest state any other relation."""
    dropped: Fraction = 0.1
    """Share of training steps' captions replaced by the empty caption."""


class PartConfig(Settings):
    """Length and rate of one part's training."""

    steps: Positive
    batch_size: Positive = 64
    learning_rate: Rate = 1e-3
    warmup: Positive = 100
    """Steps of linear warm-up."""
    decay: Fraction = 0.3
    """Share of the steps of a cycle, at its end, over which the rate falls to zero."""
    cycles: Positive = 1
    """So many times the rate rises and falls (warm restarts, Loshchilov and Hutter 2017)."""
    checkpoint_every: Positive = 250


class TestbedRecipe(Settings):
    """Everything under `checkpoints/`, from nothing."""

    __test__ = False

    seed: Annotated[int, Field(ge=0)] = 7
    out: Path = Path("checkpoints/testbed")
    """The pipeline directory."""
    judge: Path | None = None
    """The judge's directory; none: that of the pipeline with "-judge" at its end."""
    work: Path = Path("runs/testbed-pretrain")
    """Training state and logs; not shipped."""
    data: Path = Path("data/testbed-pretrain")
    """The rendered scenes; not shipped."""
    device: str = "auto"
    scenes: ScenesConfig
    captions: Annotated[list[CaptionMix], Field(min_length=1)]
    """One mix, or several in order of `from_step`; the first begins at step 0."""
    text: PartConfig
    autoencoder: Path | None = None
    """A pipeline directory whose autoencoder is taken as it is; its judge serves, none is made."""
    vae: PartConfig
    vae_images: Positive = 3000
    """Pictures the VAE is trained on; it needs fewer than the denoiser."""
    vae_crop: Positive = 64
    """Width and height, in pixels, of the parts of pictures that it is trained on."""
    kl_weight: Rate = 1e-5
    sizes: Sizes = Sizes()
    denoiser: PartConfig
    high_noise: Fraction = 0.0
    """Share of the denoiser's rows at noise levels moved by `high_shift`, where a picture's layout
    is decided; the others are moved as the sampler moves them."""
    high_shift: Rate = 30.0
    ema: Fraction = 0.999
    """Decay of the denoiser's weight average, which is what is shipped."""
    judge_training: PartConfig
    judge_images: Positive = 4000
    """Pictures the judge is trained on, each also as the autoencoder gives it back."""

    @property
    def judge_out(self) -> Path:
        """Where the judge goes."""
        return self.judge or self.out.with_name(f"{self.out.name}-judge")
