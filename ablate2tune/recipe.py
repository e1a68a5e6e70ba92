"""Recipes: the typed, frozen settings of a run, read from YAML and checked once.

Every key can be overridden on the command line after the recipe's path (`train.steps=200`).
An unknown key, a wrong type or an impossible value stops before any work with one line that
names the file, the key, the value and the nearest valid key.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ablate2tune.errors import UserError, did_you_mean

Positive = Annotated[int, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Sigma = Annotated[float, Field(gt=0, le=1)]
T = TypeVar("T", bound="Settings")


PRESETS = {"draft64": (64, 8), "demo128": (128, 8), "train512": (512, 64), "train1024": (1024, 128)}
"""Width and height in pixels, and samples per pixel."""
ALL_OBJECTS = "all"
"""Stands for every asset in `scenes.objects`."""


class Settings(BaseModel):
    """Base of all settings: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelConfig(Settings):
    """The model that is studied and tuned."""

    path: str
    """A diffusers pipeline directory or a hub name ("black-forest-labs/FLUX.1-dev")."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Inference dtype of the frozen base; adapters are always float32."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    height: Positive = 64
    """Image height in pixels."""
    width: Positive = 64
    """Image width in pixels."""
    max_sequence_length: Positive | None = None
    """Tokens the long text encoder pads to; the stock pipeline's default (FLUX: 512) if not set."""
    guidance_scale: float = 3.5
    """The stock call's `guidance_scale` when sampling: the guidance embedding's value for models
    that have one (FLUX), the scale of classifier-free guidance for others."""
    trust_remote_code: bool = False


class ScenesConfig(Settings):
    """What `render-data` renders."""

    folder: Path | None = None
    """Where the data set lies; `data/NAME` by default."""
    images: Positive = 600
    """Training images; twins of a contrast group count as two, so the number is even."""
    test_images: Annotated[int, Field(ge=0)] = 0
    """Images of held-out object pairs."""
    size: Positive = 64
    """Width and height in pixels."""
    samples: Positive = 8
    """Cycles samples per pixel."""
    objects: list[str] = ["ball", "cube", "cone", "cylinder"]
    colours: list[str] = ["red", "green", "blue", "yellow", "purple", "orange", "white", "black"]
    relations: list[str] = [
        "left of",
        "right of",
        "in front of",
        "behind",
        "on top of",
        "underneath",
    ]
    holdout: Fraction = 0.1
    """Fraction of the object pairs that no training image shows; they are kept for evaluation."""
    world: Literal["plain", "natural"] = "plain"
    """plain: unit-sized objects of one colour on grey ground. natural: every asset, with variants,
    poses and sizes that relate as in life, environments, and more relations (above, below, inside,
    next to, near, far from, between)."""
    environments: list[Literal["plain", "studio", "room", "lawn", "street"]] = ["plain"]
    """Surroundings to draw from, for world: natural."""
    bystanders: Annotated[int, Field(ge=0, le=3)] = 0
    """Further objects in a scene, at most, for world: natural; the relation is not about them."""
    size_exponent: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Displayed size = natural size ** this, for world: natural; 1: as they are."""
    assets: Path | None = None
    """A folder of asset files of your own (see blender_scenes/assets/__init__.py)."""
    preset: Literal["draft64", "demo128", "train512", "train1024"] | None = None
    """Sets size and samples: 64 px 8 samples, 128 px 8, 512 px 64, 1024 px 128."""
    min_area: Fraction = 0.04
    """Smallest visible area of an object, as a fraction of the picture."""
    max_attempts: Positive = 50
    """Tries per contrast group before the scene is given up."""
    workers: Positive | None = None
    """Blender processes; one per core by default."""
    blender: str | None = None
    """A `blender` executable; the `bpy` module or a `blender` on PATH by default."""
    timeout: Annotated[float, Field(gt=0)] = 60.0
    """Seconds one contrast group may take before its worker is replaced."""
    worker_memory: Annotated[float, Field(gt=0)] = 4.0
    """Gigabytes a Blender process may hold before it is replaced."""

    @model_validator(mode="before")
    @classmethod
    def _apply_preset(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("preset") in PRESETS:
            size, samples = PRESETS[values["preset"]]
            return {"size": size, "samples": samples, **values}
        return values

    @model_validator(mode="after")
    def _check_scenes(self) -> "ScenesConfig":
        from ablate2tune.scenes import vocabulary

        natural = self.world == "natural"
        kinds: Sequence[str] = vocabulary.KINDS
        colours: Sequence[str] = vocabulary.COLOURS
        if natural:
            from ablate2tune.scenes.catalogue import assets_module, catalogue

            kinds = [*catalogue(self.assets), ALL_OBJECTS]
            colours = assets_module().COLOURS
        elif self.environments != ["plain"] or self.bystanders or self.assets:
            raise ValueError("environments, bystanders and assets need world: natural")
        contrast = vocabulary.CONTRAST if natural else vocabulary.OPPOSITE
        for key, words, known in (
            ("objects", self.objects, kinds),
            ("colours", self.colours, colours),
            ("relations", self.relations, contrast),
        ):
            for word in words:
                if word not in known:
                    raise ValueError(
                        f"{key}: unknown {key[:-1]} {word!r}; {did_you_mean(word, known)}"
                    )
            if not words:
                raise ValueError(f"{key}: at least one is needed")
        if len(self.colours) < 2:
            raise ValueError("colours: at least two are needed, the two objects never share one")
        for relation in self.relations:
            opposite = contrast[relation]
            if opposite not in self.relations:
                raise ValueError(
                    f"relations: {relation!r} needs its opposite {opposite!r}, scenes come in twins"
                )
        if self.images % 2 or self.test_images % 2:
            raise ValueError("images and test_images must be even: scenes come in twins")
        return self


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
    """Find a small set of them that keeps this share of the spatial margin while all the others
    are ablated."""
    neighbours: Annotated[int, Field(ge=0)] = 0
    """So many top sub-layers are also ablated together with those next to them in their block."""

    @model_validator(mode="after")
    def _check_joint(self) -> "JointConfig":
        if self.pairs == 1:
            raise ValueError("pairs needs at least 2 components, or 0 for none")
        return self


class LocalizeConfig(Settings):
    """How components are ranked."""

    groups: Positive = 96
    """Contrast groups that the margins are measured on."""
    calibration_groups: Positive = 64
    """Contrast groups that mean activations are taken from; never the measured ones."""
    sigmas: list[Sigma] = [0.95, 0.85, 0.7]
    """Noise levels of the margin probe."""
    noises: Positive = 1
    """Noise draws per example and noise level."""
    mode: Literal["mean", "zero", "resample"] = "mean"
    """What replaces the output of a sub-layer or head: its mean over calibration scenes, zero, or
    its output for one calibration scene drawn for each example; blocks are always skipped."""
    top_blocks: Positive = 3
    """Blocks whose sub-layers are swept."""
    heads: bool = False
    """Sweep the heads of these blocks' attentions as well."""
    tokens: list[Literal["relation", "subject", "object"]] = []
    """Phrases of the caption: each block is also skipped at the text positions of each of these
    alone, to see which positions it matters for."""
    rank_by: Literal["impact", "specificity", "gradient"] = "impact"
    """Order of the ranking: spatial impact; relative spatial minus relative control impact; or,
    also for a model without the skill, what an adapter on the component could gain."""
    report_gradient: bool = False
    """Measure that gain beside the other two, to see how the three agree."""
    gradient_groups: Positive = 24
    """Contrast groups that the gain is measured on."""
    adapter_rank: Positive = 16
    """Rank of the adapter whose gain is measured."""
    noise_floor: bool = True
    """Draw the baseline's noise again on a few groups, to see what noise alone does."""
    batch_size: Positive = 64
    """Latents per forward."""
    prefix_reuse: bool = True
    """Compute the blocks before an ablated one once per batch."""
    batch_conditions: bool = True
    """Let small batches of several conditions share a forward."""
    racing: bool = True
    """Measure components on a share of the groups first, and on more only while their place among
    the best is open; otherwise every component on every group."""
    race_top: Positive = 8
    """Places at the top of each level that the race settles."""
    budget: Annotated[float, Field(gt=0, le=1)] | None = None
    """Block evaluations that the sweep aims at, as a fraction of the exhaustive one's: 0.11 by
    default, 0.06 with screening. The first share of at least 8 groups is always run."""
    screening: Literal["auto", "on", "off"] = "auto"
    """First-order estimates of all components from one backward pass, which steady the figures of
    those that were measured in part; auto: where at least 48 components are swept."""
    strips: Annotated[int, Field(ge=0)] = 0
    """So many top components are shown at work: pictures drawn with and without each."""
    strip_prompts: Positive = 4
    """Captions that are drawn, from as many measured contrast groups."""
    strip_steps: Positive = 16
    """Sampling steps of these pictures."""
    joint: JointConfig = JointConfig()
    """What several components do together."""
    follow_up_groups: Annotated[int, Field(ge=4)] = 48
    """Contrast groups, at most, that joint conditions and token positions are measured on, all on
    the same ones."""
    bootstrap: Positive = 2000
    """Bootstrap resamples of the contrast groups."""
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95

    @model_validator(mode="after")
    def _check_heads(self) -> "LocalizeConfig":
        if self.joint.level == "head" and not self.heads:
            raise ValueError("joint.level = head needs heads: true")
        if self.heads and self.rank_by == "gradient":
            raise ValueError("heads have no adapter of their own; rank_by must not be gradient")
        if len(set(self.tokens)) < len(self.tokens):
            raise ValueError("tokens: a phrase comes twice")
        return self


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
    checkpoint_every: Positive = 50


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
    judge: Path | None = None
    """Folder of the judge that reads the images."""
    calibration_images: Positive = 300
    """Rendered scenes on which the judge's own error is measured first."""
    grid_rows: Positive = 6
    batch_size: Positive = 50
    bootstrap: Positive = 2000
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    wandb_project: str = "ablate2tune"
    wandb: Literal["auto", "offline", "off"] = "auto"
    """auto: online when logged in, else offline."""


class Recipe(Settings):
    """A whole run: one model, one capability, one data set, one adapter."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    """Names `runs/NAME` and `data/NAME`."""
    seed: Annotated[int, Field(ge=0)] = 0
    runs: Path = Path("runs")
    """Folder that holds run directories."""
    data: Path = Path("data")
    """Folder that holds rendered data sets."""
    model: ModelConfig
    scenes: ScenesConfig = ScenesConfig()
    localize: LocalizeConfig = LocalizeConfig()
    train: TrainConfig = TrainConfig()
    compare: CompareConfig = CompareConfig()

    @property
    def run_folder(self) -> Path:
        """`runs/NAME`."""
        return self.runs / self.name

    @property
    def means_folder(self) -> Path:
        """Calibrated means that runs share; no run's name begins with a dot."""
        return self.runs / ".means"

    @property
    def data_folder(self) -> Path:
        """The rendered data set's folder."""
        return self.scenes.folder or self.data / self.name


def load_settings(kind: type[T], path: Path, overrides: list[str]) -> T:
    """Read a YAML file, apply `key.sub=value` overrides (values in YAML) and validate.

    Raises:
        UserError: the file is missing or not YAML, a key is unknown, a value impossible.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        near = sorted(str(p) for p in path.parent.glob("*.yaml")) if path.parent.is_dir() else []
        raise UserError(
            "no such recipe", where=str(path), mend=did_you_mean(str(path), near)
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read the recipe ({error})", where=str(path)) from error
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise UserError(f"not valid YAML: {reason}", where=str(path)) from error
    if not isinstance(values, dict):
        raise UserError("a recipe is a YAML mapping of keys to values", where=str(path))
    for override in overrides:
        _apply_override(values, override)
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise _first_line(error, kind, path) from error


def load_recipe(path: Path, overrides: list[str] | None = None) -> Recipe:
    """Read a recipe (see `load_settings`)."""
    return load_settings(Recipe, path, overrides or [])


def _apply_override(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise UserError(
            f"{override!r} is not KEY=VALUE", where="command line", mend="write train.steps=200"
        )
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"{text!r} is not a YAML value", where=f"command line, {key}") from error
    *parents, last = key.split(".")
    for parent in parents:
        child = values.setdefault(parent, {})
        if not isinstance(child, dict):
            raise UserError(f"{parent!r} holds a value, not keys", where=f"command line, {key}")
        values = child
    values[last] = value


def _first_line(error: ValidationError, kind: type[Settings], path: Path) -> UserError:
    problem = error.errors()[0]
    location = [str(part) for part in problem["loc"]]
    key = ".".join(location)
    if problem["type"] == "extra_forbidden":
        known = _keys_at(kind, location[:-1])
        return UserError(
            f"unknown key {key!r}", where=str(path), mend=did_you_mean(location[-1], known)
        )
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "missing":
        return UserError(f"{key} is missing", where=str(path), mend=f"add {key}: ...")
    value = problem["input"]
    shown = "" if isinstance(value, dict) else f" = {value!r}"
    return UserError(f"{key}{shown}: {message[0].lower()}{message[1:]}", where=str(path))


def _keys_at(kind: type[Settings], location: list[str]) -> list[str]:
    for part in location:
        annotation = kind.model_fields[part].annotation
        if not (isinstance(annotation, type) and issubclass(annotation, Settings)):
            return []
        kind = annotation
    return list(kind.model_fields)
