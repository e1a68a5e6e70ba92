"""The section `compare`."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator

from ablate2tune.settings import FOLDER, MAPPING, Fraction, Positive, Settings, YamlWord


class ZeroShotConfig(Settings):
    """A judge that was trained on no scene: an open-vocabulary detector and monocular depth."""

    detector: str = "google/owlv2-base-patch16-ensemble"
    """An OWLv2 model: a local folder or a hub name."""
    depth: str = "depth-anything/Depth-Anything-V2-Small-hf"
    """A Depth Anything model, of relative or metric depth: a local folder or a hub name."""
    query: str = "a photo of {}"
    """What the detector is asked; {} stands for the object with its article ("a red ball")."""
    threshold: Fraction = 0.2
    """Lowest score of a detection."""
    overlap: Fraction = 0.6
    """Of two boxes with a higher intersection over union, whatever their labels, one counts."""
    min_area: Fraction = 0.01
    """Smallest box, as a fraction of the picture."""
    depth_range: Annotated[float, Field(gt=0)] = 3.0
    """Metres that the picture's range of inverse depth (2nd to 98th percentile) stands for."""
    batch_size: Positive = 4
    """Pictures per forward pass."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"

    @field_validator("query")
    @classmethod
    def _check_query(cls, query: str) -> str:
        if query.count("{}") != 1:
            raise ValueError("{} must stand in it once, for the object")
        return query


def _form(judge: Any) -> str:
    return MAPPING if isinstance(judge, dict | ZeroShotConfig) else FOLDER


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
    judge: Annotated[
        Annotated[Path | None, Tag(FOLDER)] | Annotated[ZeroShotConfig, Tag(MAPPING)],
        Discriminator(_form),
    ] = None
    """What reads the images: the folder of a trained judge, or a mapping, the settings of a
    zero-shot one; without either the pictures are made and not judged."""
    calibration_images: Positive = 300
    """Rendered scenes on which the judge's own error is measured first."""
    grid_rows: Positive = 6
    batch_size: Positive = 50
    bootstrap: Positive = 2000
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    wandb_project: str = "ablate2tune"
    wandb: Annotated[Literal["auto", "offline", "off"], YamlWord] = "auto"
    """auto: online when logged in, else offline."""
