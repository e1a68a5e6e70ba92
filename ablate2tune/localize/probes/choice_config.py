"""The section `localize.choice`."""

from typing import Annotated

from ablate2tune.settings import Mark, Positive, Settings


class ChoiceConfig(Settings):
    """Probe `choice`: the right answer to a prompt against wrong ones."""

    groups: Positive = 96
    """Groups of prompts that are measured; others, as `localize.calibration_groups` says, are
    calibrated on."""
    batch_size: Annotated[Positive, Mark.STEERS] = 32
    """Answers per forward; those of one prompt go together."""
