"""The section `compare`."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from ablate2tune.compare.judges import AnyJudge, read_settings
from ablate2tune.settings import Mark, Positive, Settings, YamlWord


class CompareConfig(Settings):
    """How before and after are compared."""

    prompts: Positive = 300
    """Relation prompts over held-out object pairs, spread evenly over the relations."""
    plain_prompts: Positive = 75
    """Prompts without a relation, on which forgetting is measured."""
    seeds: Positive = 1
    """Images per prompt."""
    steps: Positive = 16
    """Sampling steps."""
    true_cfg_scale: Annotated[float, Field(ge=1)] = 1.0
    """Classifier-free guidance against the empty prompt; 1 is off."""
    judge: Annotated[AnyJudge, BeforeValidator(read_settings)] = None
    """What reads the images: the folder of a trained judge, or a mapping, the settings of a
    zero-shot one or of the `kind` that it names; without either the pictures are not judged."""
    calibration_images: Positive = 300
    """Rendered scenes on which the judge's own error is measured first."""
    grid_rows: Positive = 6
    batch_size: Annotated[Positive, Mark.STEERS] = 50
    bootstrap: Positive = 2000
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    wandb_project: Annotated[str, Mark.PRESENTS] = "ablate2tune"
    wandb: Annotated[Literal["auto", "offline", "off"], YamlWord, Mark.PRESENTS] = "auto"
    """auto: online when logged in, else offline."""
