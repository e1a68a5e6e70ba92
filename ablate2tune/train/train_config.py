"""The section `train`."""

import math
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from ablate2tune.settings import Fraction, Mark, Positive, Settings, YamlWord
from ablate2tune.train.memory.checkpointing import Checkpointing
from ablate2tune.train.noise_levels import Density

PICTURES = frozenset(
    ("data", "data_share", "timesteps", "min_snr", "shift", "high_noise", "high_shift", "mirror")
) | {"caption_dropout", "plain_captions", "contrast", "contrast_sharpness", "retention"}
PICTURES |= {"guidance", "cache", "twins", "acts_above", "twins_from"}
"""Keys that say nothing of texts."""


class TrainConfig(Settings):
    """How the adapter is trained."""

    later: ClassVar[frozenset[str]] = frozenset(
        ("neighbours", "optimizer", "acts_above", "twins_from")
    )

    data: Annotated[Path | None, Mark.CONTENT] = None
    """A folder of pictures of your own with a metadata.jsonl (`file_name`, `text`, perhaps `foil`),
    brought to the model's size."""
    data_share: Annotated[float, Field(gt=0, le=1)] = 1.0
    """The share of `data` among the pictures; the others are the recipe's scenes."""
    text: Annotated[Path | None, Mark.CONTENT] = None
    """What a language model is taught: a text file, a folder of them, a `.jsonl` with a document in
    the `text` of each line, or one with a `prompt` and its `answer`, of which the answers count."""
    length: Annotated[int, Field(ge=4)] = 256
    """Tokens of a sequence of text; of prompt and answer at most so many."""
    targets: Literal["top", "bottom", "random", "all", "list", "preset"] = "top"
    """Which modules get an adapter: by rank, drawn at random, all candidates, `modules`, or a
    placement that others chose (`preset`)."""
    if_no_skill: Literal["stop", "all"] = "stop"
    """When ablation finds no skill to rank by: stop, or train all candidates instead of the top."""
    count: Positive = 8
    """Number of modules for top, bottom and random."""
    budget: Positive | Annotated[str, Field(pattern=r"^(\d+\.?\d*|\.\d+)\s*%$")] | None = None
    """In place of `count`, how many parameters are trained: a number, or a share of the model's own
    ("1%"). Modules are taken in their order, each that still fits."""
    share: Annotated[float, Field(gt=0, le=1)] | None = None
    """In place of `count`: the top modules that hold this share of the impact of all that help."""
    ranks: Literal["uniform", "impact"] = "uniform"
    """One rank for all modules; or each its own, proportional to its impact, with as many
    parameters in all as `budget` says, or as `rank` would take."""
    neighbours: Annotated[int, Field(gt=0, le=8)] | None = None
    """For top, bottom and random: how many blocks on either side of a chosen module's have the
    same module adapted as well, beyond `count`; None: none."""
    preset: str = ""
    """For targets: preset, the placement's name (`train/placements/`)."""
    modules: list[Annotated[str, Field(min_length=1)]] = []
    """Module names or globs (`transformer_blocks.{0..3}.attn.to_*`) for targets: list; some heads
    of an attention as `transformer_blocks.3.attn[heads=3,7]`."""
    draw: int = 0
    """Which random draw, for targets: random."""
    rank: Positive = 16
    """LoRA rank. What is written has alpha = rank, so that it loads at strength 1 everywhere."""
    alpha: Annotated[float, Field(gt=0)] | None = None
    """The adapter is scaled by alpha / rank while it is trained, as a learning rate would scale it;
    None: alpha = rank. The scale is folded into what is written."""
    dropout: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Share of what each adapted layer is given that its adapter does not see in a training step,
    drawn anew for each picture and step; None: it sees all of it."""
    method: str = "lora"
    """How the adapter begins and grows: lora, rslora, dora, eva, adalora, lokr, oft; full, which
    trains the modules themselves; or what an extension adds (docs/train.md)."""
    steps: Positive = 400
    batch_size: Positive = 32
    """Images or texts per optimizer step, over all processes; an image with two captions counts
    once."""
    micro_batch: Annotated[Positive | None, Mark.STEERS] = None
    """Images or texts that a process computes at once; the gradients of a step's parts add up, to
    the same up to rounding. None: all of them."""
    learning_rate: Annotated[float, Field(gt=0, le=1e37)] = 1e-3  # 1e38 overflows in AdamW
    optimizer: str | None = None
    """adamw8bit, prodigy, or what an extension adds (`train/optimizers/`); None: AdamW."""
    warmup: Annotated[int, Field(ge=0)] | None = None
    """Steps of linear warm-up, after which the rate falls along a cosine; None: 20, or half of a
    run that has fewer than 40."""
    timesteps: Density | None = None
    """Density of sigma in training; None: flux_shift for flows, and uniform over the timesteps for
    models that predict epsilon or v, as each was pretrained."""
    min_snr: Annotated[float, Field(ge=0)] = 5.0
    """Gamma of min-SNR, which lowers the weight of low noise for models that predict epsilon or v;
    0: every noise level counts alike. Flows take no weight."""
    shift: Annotated[float, Field(gt=0)] | None = None
    """Constant shift of the noise levels; None takes it from the scheduler and resolution."""
    high_noise: Fraction = 0.0
    """Share of the pictures whose noise level is drawn at `high_shift` instead, close to 1, where
    the caption decides who stands where; the contrast is taken on these alone."""
    high_shift: Annotated[float, Field(gt=0)] = 60.0
    acts_above: Annotated[float, Field(gt=0, lt=1)] | None = None
    """The lowest noise level at which the adapter acts, in training and in sampling: what is drawn
    in later steps is the base's own (`models.calls.adapter_window`). All levels are drawn above it,
    and all of them teach; None: the adapter acts at all."""
    mirror: bool = False
    """Whether every picture is also seen in a mirror, with left and right exchanged in its captions
    as well: twice the scenes without rendering. Not for pictures with lettering."""
    twins: bool = False
    """Whether the two scenes of a group, each of which is what the other's foil says, are taken
    together, with the same noise; at noise level 1 where it is high. Nothing of a picture is seen
    there, so that a forward pass serves both: such pictures cost half. For flows."""
    twins_from: Annotated[float, Field(gt=0, lt=1)] | None = None
    """With `twins`, the lowest of the levels at which half of those at high noise are taken, noised
    from the mean of both pictures, in which the caption alone says which is meant; None: all of
    them at 1."""
    caption_dropout: Fraction = 0.0
    plain_captions: Fraction = 0.2
    """Fraction of training captions that leave the relation out, against forgetting."""
    contrast: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the contrast between a caption and its foil, the opposite relation, under which the
    same picture with the same noise is seen as well (`objective.step_loss`); 0: not taken."""
    contrast_sharpness: Annotated[float, Field(gt=0)] = 20.0
    """How little the foil's loss need exceed the caption's, some 1 / sharpness, to be let be."""
    retention: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the pictures whose target is the base's own prediction: those with captions without
    a relation, and with `high_noise` those at other noise levels; 0: there are none."""
    guidance: Annotated[float, Field(ge=0)] = 1.0
    """Value of the guidance embedding in training, for models that have one."""
    compile: Annotated[bool, Mark.STEERS] = False
    """Compile the blocks (torch.compile), each by itself: minutes before the first step, faster
    steps after it. The weights are the same up to rounding."""
    checkpointing: Annotated[Checkpointing, YamlWord, Mark.STEERS] = "auto"
    """Compute blocks again in the backward pass instead of keeping their activations: as few as
    bring a step into the device's memory (auto), all, or none. The weights are the same."""
    validate_every: Annotated[Positive, Mark.STEERS] = 100
    validation_images: Positive = 64
    """Images, or texts, that are validated on and not trained on: the last, in whole groups."""
    sample_every: Annotated[Positive, Mark.STEERS] = 200
    """Steps between sample grids; one is made at step 0 as well."""
    sample_prompts: Annotated[Positive, Mark.STEERS] = 6
    checkpoint_every: Annotated[Positive, Mark.STEERS] = 50
    keep_checkpoints: Annotated[Positive, Mark.STEERS] = 1
    """The adapters of so many last checkpoints are kept, in a folder for each step; 1: there is
    the run's state alone."""
    cache: Annotated[Path | None, Mark.STEERS] = None
    """Folder of encoded pictures and captions that runs share; by default each has its own."""

    @property
    def warmup_steps(self) -> int:
        """Steps of linear warm-up."""
        return min(20, self.steps // 2) if self.warmup is None else self.warmup

    @property
    def most_rows(self) -> int:
        """The most captions under which a step sees a picture."""
        return 2 if self.contrast else 1

    def at_once(self, processes: int) -> int:
        """Images or texts that each of so many processes computes at once, at most."""
        return min(math.ceil(self.batch_size / processes), self.micro_batch or self.batch_size)

    @model_validator(mode="after")
    def _possible(self) -> "TrainConfig":
        without = self.caption_dropout + self.plain_captions
        if without > 1 + 1e-9:
            raise ValueError(
                f"caption_dropout {self.caption_dropout:g} and plain_captions "
                f"{self.plain_captions:g} are {without:g} of the captions together; 1 is all"
            )
        for key, needed in (("preset", "preset"), ("modules", "list")):
            if getattr(self, key) and self.targets != needed:
                raise ValueError(
                    f"{key} says nothing beside targets: {self.targets}; leave it out or set "
                    f"targets to {needed}"
                )
        if self.targets == "preset" and not self.preset:
            raise ValueError("targets: preset needs the name of a placement; set preset")
        if self.budget is not None and self.share is not None:
            raise ValueError("budget and share both say how many modules; set one of them")
        if self.targets not in ("top", "bottom", "random") and (self.budget or self.share):
            raise ValueError(
                f"targets {self.targets} says which modules; leave budget or share out"
            )
        if self.targets not in ("top", "bottom") and (self.share or self.ranks == "impact"):
            raise ValueError("share and ranks: impact take a ranking: set targets to top or bottom")
        if self.neighbours and self.targets not in ("top", "bottom", "random"):
            raise ValueError(f"neighbours are of chosen modules, not of targets: {self.targets}")
        if self.neighbours and (self.budget or self.ranks == "impact"):
            raise ValueError(
                "neighbours come on top of what is chosen: leave budget and ranks: impact out"
            )
        if self.compile and self.dropout:
            raise ValueError("dropout draws other masks in every step; leave it or compile out")
        lacking = [
            *(["high_noise above 0"] if not self.high_noise else []),
            *([f"an even batch_size, not {self.batch_size}"] if self.batch_size % 2 else []),
            *(["no dropout"] if self.dropout else []),
        ]
        if self.twins and lacking:
            raise ValueError(
                f"twins share forward passes at high noise: set {' and '.join(lacking)}, "
                "or leave twins and twins_from out"
            )
        if self.micro_batch and self.micro_batch > self.batch_size:
            raise ValueError(
                f"micro_batch {self.micro_batch} is more than the {self.batch_size} of a whole "
                "batch_size; lower it or leave it out"
            )
        if self.micro_batch and self.twins and self.micro_batch % 2:
            raise ValueError(
                f"micro_batch {self.micro_batch} would part twins, which share forward passes; "
                "make it even"
            )
        if self.twins_from and not self.twins:
            raise ValueError("twins_from is a level of twins: set twins, or leave it out")
        if self.twins_from and self.twins_from < (self.acts_above or 0.0):
            raise ValueError(
                f"twins from {self.twins_from:g} on would teach nothing below acts_above "
                f"{self.acts_above:g}: set twins_from to at least that"
            )
        if self.warmup is not None and self.warmup >= self.steps:
            raise ValueError(
                f"a warm-up of {self.warmup} steps leaves none of {self.steps} at the full rate; "
                "lower warmup or raise steps"
            )
        return self
