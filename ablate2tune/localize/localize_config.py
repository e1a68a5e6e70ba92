"""The section `localize`."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SerializeAsAny, ValidationError, field_validator, model_validator

from ablate2tune.ablation import MODES
from ablate2tune.ablation.mode import CALIBRATED, NEEDS
from ablate2tune.errors import UserError
from ablate2tune.localize.probes.choice_config import ChoiceConfig
from ablate2tune.localize.probes.generate_config import GenerateConfig
from ablate2tune.localize.probes.margin_config import MarginConfig
from ablate2tune.localize.probes.perplexity_config import PerplexityConfig
from ablate2tune.localize.probes.probe import PROBES
from ablate2tune.settings import Mark, Positive, Settings, YamlWord
from ablate2tune.statistics.resampling import check_resamples


class JointConfig(Settings):
    """Components ablated together, after the sweep. All of it is off by default."""

    level: Literal["block", "sublayer", "head"] = "sublayer"
    """Whose ranked components are combined in `curves`, `pairs` and `sufficient`."""
    curves: bool = False
    """Ablate more and more of them in steps of 10 %: from the least important on, and from the
    most important on."""
    pairs: Annotated[int, Field(ge=0)] = 0
    """Interactions between every two of so many top components; 0 for none."""
    sufficient: Annotated[float, Field(gt=0, le=1)] | None = None
    """Find a small set of them that keeps this share of the target margin while all the others
    are ablated."""
    conditions: dict[str, list[str]] = {}
    """Conditions of your own, by name: addresses or patterns of components that are ablated
    together, by `localize.mode` or, blocks, by what it gives to blocks."""
    neighbours: Annotated[int, Field(ge=0)] = 0
    """So many top sub-layers are also ablated together with those next to them in their block."""

    @model_validator(mode="after")
    def _check_joint(self) -> "JointConfig":
        if self.pairs == 1:
            raise ValueError("pairs needs at least 2 components, or 0 for none")
        return self


class FeaturesConfig(Settings):
    """Features of a sparse autoencoder over a language model's layer, each taken out alone."""

    file: Annotated[Path | None, Mark.CONTENT] = None
    """Safetensors with the encoder's and decoder's weights, under SAELens' names or those of plain
    modules."""
    block: str = ""
    """Address of the block whose output it is over."""
    count: Positive = 32
    """So many features, those that are on most strongly over the calibration texts."""
    chosen: list[Annotated[int, Field(ge=0)]] = []
    """Or these, by number."""


class OwnImagesConfig(Settings):
    """The model's own pictures as examples of the margin probe (`images`: own or both)."""

    seeds: Positive = 4
    """Pictures of a caption at most; the first that the judge verifies is kept."""
    steps: Positive = 16
    """Sampling steps."""
    true_cfg_scale: Annotated[float, Field(ge=1)] = 1.0
    """Classifier-free guidance against the empty prompt for calls that have it; 1 is off."""
    batch_size: Positive = 50
    """Pictures per call of the pipeline."""
    gone = {"min_groups": "no ranking is made of fewer than 16 groups with a verified picture"}


class LocalizeConfig(MarginConfig):
    """How components are ranked."""

    gone = {
        "race_top": "a race settles as many places as train.count modules need",
        "gradient_groups": "half of all groups choose the adapter's direction, half judge it",
        "follow_up_groups": "follow-ups are measured on 48 contrast groups at most",
        "strip_prompts": "strips show 4 captions",
        "strip_steps": "strips are drawn in 16 steps",
    }
    later = frozenset(("scout_steps",))

    probe: str = "margin"
    """What components are ranked by. margin: margins between captions and foils, without sampling;
    generate: pictures that are sampled without each component and judged; of language models,
    perplexity: the loss on text, and choice: answers against foils; or what an extension adds."""
    contrasts: Annotated[Path | None, Mark.CONTENT] = None
    """Folder of examples that state a capability by a true text and a foil: pictures and a
    contrasts.jsonl of your own (docs/contrasts.md), or another rendered set; by default the
    rendered scenes of the recipe. For the probe choice: a choices.jsonl, or its folder
    (docs/language-models.md)."""
    own: OwnImagesConfig = OwnImagesConfig()
    """The model's own pictures."""
    calibration_groups: Positive = 64
    """Contrast groups that mean activations are taken from; never the measured ones."""
    mode: str = "mean"
    """What becomes of the output of a sub-layer or head: the name of an ablation mode, of those in
    docs/components.md or of an extension (mean: its mean over calibration scenes; zero; patch: what
    it gives for the same noised picture under its other caption). The mode says what blocks get."""
    directions: Annotated[Path | None, Mark.CONTENT] = None
    """File of safetensors, a vector for each address, for a mode that takes directions out; without
    it they are learnt: mean activations under the captions minus those under the target foils."""
    top_blocks: Positive = 3
    """Blocks whose sub-layers are swept."""
    heads: bool = False
    """Sweep the heads of these blocks' attentions as well."""
    projections: bool = False
    """Sweep the Linears of these blocks as well, and choose the first of them as a set: each by
    what it adds when it is ablated together with those before it."""
    information: Literal["conditioning", "depth"] = "conditioning"
    """Where linear readouts look for relation and role: in the prompt embeddings; or also in the
    text and the image stream after every block, at every noise level and at pure noise."""
    noise_floor: bool = True
    """Draw the baseline's noise again on a few groups, to see what noise alone does."""
    rank_by: Literal["impact", "specificity", "gradient", "scout"] = "impact"
    """Order of the ranking: target impact; relative target minus relative control impact; or,
    also for a model without the skill, what an adapter on the component could gain, or what one
    that was trained for a while has gained (scout)."""
    scout_steps: Positive | None = None
    """Steps that a scout learns for, over all its rounds; None: half of `train.steps`."""
    report_gradient: bool = False
    """Measure that gain beside the other two, to see how the three agree."""
    racing: bool = True
    """Measure components on a share of the groups first, and on more only while their place among
    the best is open; otherwise every component on every group."""
    budget: Annotated[float, Field(gt=0, le=1)] | None = None
    """Block evaluations that the sweep may take, as a fraction of the exhaustive one's; it ends
    before where all places are settled. 0.17 by default, or 1 where `minutes` is set. The first
    share of at least 16 groups is always run."""
    minutes: Annotated[float, Field(gt=0)] | None = None
    """Minutes that measuring may take beside that: a number of block evaluations at the pace of the
    baseline, which is kept in pace.json so that a resumed run decides alike."""
    screening: Annotated[Literal["auto", "on", "off"], YamlWord] = "auto"
    """First-order estimates of all components from one backward pass, which steady the figures of
    those that were measured in part; auto: where at least 48 components are swept."""
    strips: Annotated[int, Field(ge=0)] = 0
    """So many top components are shown at work: pictures drawn with and without each."""
    generate: GenerateConfig = GenerateConfig()
    """The probe `generate`."""
    perplexity: PerplexityConfig = PerplexityConfig()
    """The probe `perplexity`, of language models."""
    choice: ChoiceConfig = ChoiceConfig()
    """The probe `choice`, of language models."""
    sections: dict[str, SerializeAsAny[Settings]] = {}
    """Of probes that extensions add; each is written in `localize` under its probe's name."""
    features: FeaturesConfig = FeaturesConfig()
    """Features of a sparse autoencoder."""
    joint: JointConfig = JointConfig()
    """What several components do together."""
    bootstrap: Positive = 2000
    """Bootstrap resamples of the contrast groups."""
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95

    @model_validator(mode="after")
    def _check_race(self) -> "LocalizeConfig":
        if self.minutes is not None and not self.racing:
            raise ValueError("minutes end a race; with racing = false there is none to end")
        return self

    @model_validator(mode="after")
    def _check_statistics(self) -> "LocalizeConfig":
        check_resamples(self.bootstrap, self.confidence)
        return self

    @property
    def calibrated_groups(self) -> int:
        """Contrast groups that are calibrated on: none where the mode takes nothing from them."""
        needs = MODES[self.mode].needs - ({"directions"} if self.directions else set())
        return self.calibration_groups if needs & CALIBRATED else 0

    @field_validator("mode")
    @classmethod
    def _check_mode(cls, name: str) -> str:
        try:
            mode = MODES[name]
        except UserError as error:
            raise ValueError(str(error)) from error
        if "sublayer" not in mode.levels:
            raise ValueError(f"it acts on {', '.join(mode.levels)} alone; sub-layers need a mode")
        if unknown := mode.needs - NEEDS:
            raise ValueError(f"it needs {', '.join(sorted(unknown))}, which no sweep can supply")
        return name

    @field_validator("probe")
    @classmethod
    def _check_name(cls, name: str) -> str:
        try:
            _ = PROBES[name]  # raises, with the names that are near
        except UserError as error:
            raise ValueError(str(error)) from error
        return name

    @model_validator(mode="after")
    def _check_heads(self) -> "LocalizeConfig":
        if self.joint.level == "head" and not self.heads:
            raise ValueError("joint.level = head needs heads: true")
        if self.heads and self.rank_by == "gradient":
            raise ValueError("heads have no adapter of their own; rank_by must not be gradient")
        mode = MODES[self.mode]
        if mode.restores and (self.strips or self.joint.sufficient):
            raise ValueError(
                f"strips and joint.sufficient take components away; mode {self.mode} does not"
            )
        if self.strips and not mode.drawn:
            raise ValueError(f"strips are drawn, which mode {self.mode} is not made for")
        if self.directions and "directions" not in mode.needs:
            raise ValueError(f"mode {self.mode} takes no directions; leave them out")
        if self.projections and "projection" not in mode.levels:
            raise ValueError(f"mode {self.mode} does not act on projections; leave them out")
        if self.heads and "head" not in mode.levels:
            raise ValueError(f"mode {self.mode} does not act on heads; heads must not be true")
        if len(set(self.tokens)) < len(self.tokens):
            raise ValueError("tokens: a phrase comes twice")
        return self

    @model_validator(mode="before")
    @classmethod
    def _read_sections(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        extensions = [key for key in values if key not in cls.model_fields and key in PROBES]
        if not extensions:
            return values
        read = {key: _section(key, values[key]) for key in extensions}
        kept = {key: value for key, value in values.items() if key not in read}
        return {**kept, "sections": {**kept.get("sections", {}), **read}}

    @model_validator(mode="after")
    def _check_probe(self) -> "LocalizeConfig":
        if "probe" not in self.model_fields_set:
            return self  # the default serves every key
        probe = PROBES[self.probe]
        wanted = {
            "images": self.images != "rendered",
            "heads": self.heads,
            "projections": self.projections,
            "tokens": bool(self.tokens),
            "features": self.features.file is not None,
            "strips": bool(self.strips),
            "joint": self.joint != JointConfig(),
            "minutes": self.minutes is not None,
            "gradient": self.rank_by == "gradient" or self.report_gradient,
            "scout": self.rank_by == "scout",
        }
        for key, asked in wanted.items():
            if asked and key not in probe.takes:
                raise ValueError(f"probe = {self.probe} does not serve {key}; leave it out")
        if probe.samples and not MODES[self.mode].drawn:
            raise ValueError(
                f"probe = {self.probe} cannot use mode {self.mode} while sampling; use mean or zero"
            )
        return self

    @model_validator(mode="after")
    def _check_scout(self) -> "LocalizeConfig":
        if self.rank_by != "scout":
            if self.scout_steps:
                raise ValueError("scout_steps are of a scout: set rank_by: scout, or leave it out")
            return self
        beside = {
            "heads": self.heads,
            "projections": self.projections,
            "tokens": bool(self.tokens),
            "strips": bool(self.strips),
            "joint": self.joint != JointConfig(),
            "report_gradient": self.report_gradient,
            "directions": self.directions is not None,
            "information = depth": self.information == "depth",
            f"images = {self.images}": self.images != "rendered",
        }
        for key, asked in beside.items():
            if asked:
                raise ValueError(f"rank_by = scout ablates adapters alone; leave {key} out")
        return self

    def section(self) -> Settings:
        """The section of its probe."""
        kind = PROBES[self.probe].config
        held = [self, getattr(self, self.probe, None), self.sections.get(self.probe)]
        return next((found for found in held if isinstance(found, kind)), kind())


def _section(probe: str, values: Any) -> Settings:
    """The section of a probe that an extension adds."""
    try:
        return PROBES[probe].config.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{'.'.join(map(str, (probe, *first['loc'])))}: {first['msg']}") from error
