"""A third probe, from outside the package: the CLIP similarity of one forward.

What the model draws in a single sampling step is its guess of the whole picture, from noise and
caption alone. Its CLIP similarity to the caption costs one forward a picture, where the probe
generate takes sixteen. See docs/extending.md.
"""

from collections.abc import Sequence
from typing import Annotated

from ablate2tune.localize.generate.clip import Clip, clip_scores
from ablate2tune.localize.measuring.condition import Condition
from ablate2tune.localize.measuring.results import Values
from ablate2tune.localize.probes.figure import Figure
from ablate2tune.localize.probes.probe import PROBES, Needs, Probe, Setting
from ablate2tune.seeding import seed_for
from ablate2tune.settings import Mark, Positive, Settings


class ClipOneStepConfig(Settings):
    """The section `localize.clip_one_step`."""

    groups: Positive = 24
    """Contrast groups whose true captions are drawn."""
    clip: Annotated[str, Mark.CONTENT] = "openai/clip-vit-base-patch32"
    """Folder or hub name of the CLIP model."""


class ClipOneStep(Probe[ClipOneStepConfig]):
    """How well one forward's guess of the picture fits the caption."""

    name = "clip_one_step"
    config = ClipOneStepConfig
    figures = (
        Figure("target", "CLIP similarity of one forward", "CLIP", role="target", ranks=True),
    )
    unit = "pictures"
    title = "one forward without a component"

    def __init__(self, setting: Setting[ClipOneStepConfig]):
        """Load CLIP."""
        super().__init__(setting)
        self.clip = Clip(setting.config.clip, self.denoiser.device)

    @classmethod
    def needs(cls, config: ClipOneStepConfig, judged: bool) -> Needs:
        """Captions of contrasts; no judge."""
        return Needs(config.groups, "localize.clip_one_step.groups")

    def measure(
        self, conditions: Sequence[Condition], chunk: Sequence[int]
    ) -> dict[Condition, Values]:
        """Sample in one step under one condition and compare with the captions."""
        (condition,) = conditions
        texts = [self.setting.split.measured[index].text for index in chunk]
        seeds = [seed_for(self.setting.seed, "one step", index) % 2**32 for index in chunk]
        with self.setting.sampling.under(condition):
            images = self.denoiser.sample(texts, seeds, steps=1, batch_size=len(texts))
        pictures = self.clip.image_features(list(images))
        captions = self.clip.text_features(texts)
        return {condition: {"target": clip_scores(pictures, captions)}}


PROBES.add(ClipOneStep.name, ClipOneStep)
