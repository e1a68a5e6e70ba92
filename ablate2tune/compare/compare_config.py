"""The section `compare`."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, field_validator, model_validator

from ablate2tune.compare.judges import AnyJudge, read_settings
from ablate2tune.errors import did_you_mean
from ablate2tune.settings import Mark, Positive, Settings, YamlWord
from ablate2tune.statistics.resampling import check_resamples
from ablate2tune.tracking.wandb_run import Wanted

RUN = "run"
"""Instead of an adapter's folder: what this run trains."""
ArmName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]


class ArmConfig(Settings):
    """One arm: the model with an adapter, with ablations, or as it is."""

    adapter: Path | None = None
    """Folder of an adapter, such as another run's `train/adapter`; `run`: this run's own."""
    acts_above: Annotated[float, Field(ge=0, lt=1)] | None = None
    """The noise level below which the adapter is off; None: what its file says; 0: at none."""
    ablate: list[str] = []
    """Components that are ablated meanwhile, ADDRESS=MODE each ("transformer_blocks.3=skip")."""

    later = frozenset(("acts_above",))

    @model_validator(mode="after")
    def _check_level(self) -> "ArmConfig":
        if self.acts_above is not None and self.adapter is None:
            raise ValueError("acts_above is of an adapter: name one, or leave it out")
        return self

    @field_validator("ablate")
    @classmethod
    def _check_ablations(cls, ablate: list[str]) -> list[str]:
        for text in ablate:
            address, _, mode = text.rpartition("=")
            if not address or not mode:
                raise ValueError(f"{text!r} is not ADDRESS=MODE, such as transformer_blocks.3=skip")
        return ablate


def _arm(written: Any) -> Any:
    """`NAME:` without anything below it is the model as it is."""
    if not isinstance(written, dict):
        return written
    return {name: {} if arm is None else arm for name, arm in written.items()}


class CompareConfig(Settings):
    """How arms are compared."""

    arms: Annotated[dict[ArmName, ArmConfig], BeforeValidator(_arm), Field(min_length=1)] = {
        "before": ArmConfig(),
        "after": ArmConfig(adapter=Path(RUN)),
    }
    """The arms by name, in the order in which they are shown."""
    reference: Annotated[str, Mark.PRESENTS] = ""
    """The arm with which the others are compared; the first by default."""
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
    grid_rows: Annotated[Positive, Mark.PRESENTS] = 12
    """Prompts in the grid, as many of each relation: two of each of the six by default."""
    batch_size: Annotated[Positive, Mark.STEERS] = 50
    """Pictures that are sampled at once."""
    bootstrap: Annotated[Positive, Mark.PRESENTS] = 2000
    """Resamples of an interval."""
    confidence: Annotated[float, Field(gt=0.5, lt=1), Mark.PRESENTS] = 0.95
    """Mass of the intervals."""
    wandb_project: Annotated[str, Mark.PRESENTS] = "ablate2tune"
    """Where the run is shown."""
    wandb: Annotated[Wanted, YamlWord, Mark.PRESENTS] = "auto"
    """auto: online when logged in, else offline. A training shows itself while it runs where it is
    online, and where `offline` is written here."""

    @model_validator(mode="after")
    def _check_reference(self) -> "CompareConfig":
        if self.reference and self.reference not in self.arms:
            near = did_you_mean(self.reference, self.arms)
            raise ValueError(f"reference = {self.reference!r} is no arm; {near}")
        return self

    @model_validator(mode="after")
    def _check_statistics(self) -> "CompareConfig":
        check_resamples(self.bootstrap, self.confidence)
        return self

    @property
    def reference_arm(self) -> str:
        """The arm with which the others are compared."""
        return self.reference or next(iter(self.arms))
