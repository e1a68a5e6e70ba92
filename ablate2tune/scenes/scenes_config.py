"""The section `scenes`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from ablate2tune.errors import did_you_mean, reason
from ablate2tune.settings import Fraction, Positive, Settings

PRESETS = {"draft64": (64, 8), "demo128": (128, 8), "train512": (512, 64), "train1024": (1024, 128)}
"""Width and height in pixels, and samples per pixel."""
ALL_OBJECTS = "all"
"""Stands for every asset in `scenes.objects`."""


class CaptionRates(Settings):
    """How often a reader is given which caption of a scene (`scenes.caption_rates.choose`).

    `dropped`, `foil` and `no_relation` exclude each other and sum to at most 1; what they leave is
    true captions with the relation. `natural` and `bare` apply to every caption but the dropped.
    """

    dropped: Fraction = 0.0
    """The empty caption."""
    foil: Fraction = 0.0
    """The relation reversed: false of the picture, and marked so."""
    no_relation: Fraction = 0.0
    """The objects alone: "a red ball and a blue cube"."""
    natural: Fraction = 0.0
    """One of several templates, with the pose: "there is a grey cat sitting on top of a car"."""
    bare: Fraction = 0.0
    """Without colours: "a ball left of a cube"."""
    varied: Fraction = 0.0
    """As people write them: one of several wordings ("a mug to the left of the van"), the converse
    ("a car behind a dog" where a dog is in front of it), the place, what else is there. Overrides
    `natural`; for rows with the columns of a natural world, without a `frame`."""
    typed: Fraction = 0.0
    """The sentence of `scenes.prompts` as it was typed, where the picture shows it. Overrides the
    others but `dropped` and `foil`."""
    style: str = ""
    """Before every caption but the dropped ("3D render of"), so that the look of renders is learnt
    as that of these words; leave it out of prompts, and the pictures keep the model's own look."""

    @model_validator(mode="after")
    def _check_sum(self) -> "CaptionRates":
        if self.dropped + self.foil + self.no_relation > 1 + 1e-9:
            raise ValueError("dropped + foil + no_relation must not exceed 1")
        return self


class ScenesConfig(Settings):
    """What `render-data` renders."""

    folder: Path | None = None
    """Where the data set lies; `data/NAME` by default."""
    images: Positive = 600
    """Training images; twins of a contrast group count as two, so the number is even."""
    test_images: Annotated[int, Field(ge=0)] = 0
    """Images of held-out object pairs."""
    size: Annotated[int, Field(ge=4, le=65536)] = 64
    """Width and height in pixels; Blender makes no smaller and no larger pictures."""
    samples: Annotated[int, Field(gt=0, le=1 << 24)] = 8
    """Cycles samples per pixel; four times as many are taken where there is no denoiser."""
    denoise: bool = True
    """Use OpenImageDenoise where Blender has it. Without it decoded pixels repeat exactly; with it,
    to within 1/255."""
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
    prompts: list[str] = []
    """Sentences as people type them ("a dog sitting on top of a car"), or a file with one a line,
    for world: natural. They take turns instead of `objects` and `relations`: one picture of a group
    shows the sentence, the other the same things in another relation."""
    environments: Annotated[list[str], Field(min_length=1)] = ["plain"]
    """Surroundings to draw from, for world: natural: plain, studio, room, table top, lawn, garden,
    street, beach, and the environment maps in `assets` by their files' names. A scene takes one in
    which its objects belong, if there is any."""
    frame: Literal["camera", "object", "both"] = "camera"
    """Whose left and whose front is meant, for world: natural. camera: the viewer's. object: that
    of the second object, which then has a front (a car, a chair, a cat), for left of, right of, in
    front of and behind; other relations know no frame. both: by turns. Unless it is camera, there
    is a column `frame`, and captions say which is meant."""
    bystanders: Annotated[int, Field(ge=0, le=3)] = 0
    """Further objects in a scene, at most, for world: natural; the relation is not about them."""
    sizes: Literal["life", "even"] = "life"
    """For world: natural. life: objects differ in size about as they do in life. even: a small one
    is shown larger, a large one smaller, so that both are easily seen."""
    perspective: Literal["true", "corrected"] = "true"
    """For world: natural, of two things in depth. true: what is farther looks smaller, by little,
    through a long lens. corrected: it is enlarged by as much as perspective makes it smaller, so
    that sizes never tell what is nearer, and the lens is a quarter as long."""
    view_transforms: Annotated[list[Literal["Standard", "Filmic", "AgX"]], Field(min_length=1)] = [
        "Standard"
    ]
    """How radiance becomes a picture, drawn for each group: Standard (clips), Filmic or AgX (soften
    bright parts; AgX since Blender 4.0)."""
    assets: Path | None = None
    """A folder of assets of your own: Python files (see blender_scenes/assets/__init__.py), GLB
    models and environment maps, these with their licences (see docs/scenes.md)."""
    preset: Literal["draft64", "demo128", "train512", "train1024"] | None = None
    """Sets size and samples: 64 px 8 samples, 128 px 8, 512 px 64, 1024 px 128."""
    min_area: Fraction = 0.04
    """Smallest visible area of an object, as a fraction of the picture."""
    captions: CaptionRates = CaptionRates()
    """Mixing rates of the captions, kept with the data set for whatever trains on it; every caption
    is made from the same rows, so that changing them renders nothing anew."""
    max_attempts: Positive = 50
    """Tries per contrast group before the scene is given up."""
    engine: Literal["local", "ray"] = "local"
    """Where Blender runs: on this machine, or on a Ray cluster (`pip install 'ablate2tune[ray]'`):
    the one that the environment variable RAY_ADDRESS names, else the one that this machine is part
    of, else one started for the run. The files are the same."""
    workers: Positive | None = None
    """Blender processes; one per core of the machine or of the cluster by default."""
    blender: str | None = None
    """A `blender` executable (on each node); the `bpy` module or a `blender` on PATH by default."""
    device: Literal["auto", "cpu", "gpu"] = "cpu"
    """What Cycles renders on. auto: a GPU on which a frame succeeds (OptiX, CUDA, HIP, Metal and
    oneAPI are tried in this order), else the CPU; gpu: an error where there is none. The device
    really used is recorded with every scene. Pixels from a GPU differ a little from a CPU's."""
    timeout: Annotated[float, Field(gt=0)] | None = None
    """Seconds one contrast group may take before its worker is replaced; by default a minute, and
    ten seconds more for each million samples of its two pictures."""

    @model_validator(mode="before")
    @classmethod
    def _apply_preset(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("preset") in PRESETS:
            size, samples = PRESETS[values["preset"]]
            return {"size": size, "samples": samples, **values}
        return values

    @field_validator("perspective", mode="before")
    @classmethod
    def _read_perspective(cls, value: Any) -> Any:
        """YAML reads the word as a truth value."""
        return "true" if value is True else value

    @field_validator("prompts", mode="before")
    @classmethod
    def _read_prompts(cls, value: Any) -> Any:
        """The lines of a file without empty ones."""
        given = value
        if isinstance(value, str | Path):
            try:
                value = Path(value).expanduser().read_text("utf-8-sig").splitlines()
            except (OSError, UnicodeDecodeError) as error:
                raise ValueError(
                    f"the file {value} cannot be read ({reason(error)}); write sentences that are "
                    "no file as a list"
                ) from error
        if isinstance(value, list):
            value = [line.strip() if isinstance(line, str) else line for line in value]
            value = [line for line in value if line != ""]
            if not value and given != []:
                raise ValueError(f"{given} holds no sentence; write some, or leave the key out")
        return value

    @model_validator(mode="after")
    def _check_scenes(self) -> "ScenesConfig":
        from ablate2tune.scenes import vocabulary

        natural = self.world == "natural"
        kinds: Sequence[str] = vocabulary.KINDS
        colours: Sequence[str] = vocabulary.COLOURS
        if natural:
            from ablate2tune.scenes.assets.asset_catalogue import assets_module, catalogue
            from ablate2tune.scenes.assets.user_assets import user_assets
            from ablate2tune.scenes.assets.world_catalogue import worlds

            kinds = [*catalogue(self.assets), ALL_OBJECTS]
            colours = assets_module().COLOURS
            maps, known = user_assets(self.assets).maps, worlds(self.assets)
            for name in set(maps) & set(known):
                raise ValueError(f"assets: {maps[name].path.name} has an environment's name")
            surroundings = (*known, *maps)
            for name in self.environments:
                if name not in surroundings:
                    raise ValueError(
                        f"environments: unknown environment {name!r}; "
                        f"{did_you_mean(name, surroundings)}"
                    )
        elif self.environments != ["plain"] or self.bystanders or self.assets or self.prompts:
            raise ValueError("environments, bystanders, assets and prompts need world: natural")
        elif self.frame != "camera":
            raise ValueError(f"frame: {self.frame} needs world: natural")
        if self.prompts and (self.frame != "camera" or self.bystanders):
            raise ValueError("prompts: they are meant by the camera's view, without bystanders")
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
        if self.frame != "camera" and not set(self.relations) & set(vocabulary.DIRECTIONS):
            directions = ", ".join(vocabulary.DIRECTIONS)
            raise ValueError(f"frame: {self.frame} needs one of the relations {directions}")
        if len(set(self.colours)) < 2:
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
