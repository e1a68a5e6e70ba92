"""What the probes measure on: contrasts, drawn by seed in whole clusters and encoded once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ablate2tune.contrasts.contrast import TRAINING, Contrast, Role
from ablate2tune.disk.picture_reading import read_pictures
from ablate2tune.errors import UserError
from ablate2tune.models import Conditioning, Denoiser
from ablate2tune.seeding import seed_for


@dataclass(frozen=True)
class Examples:
    """Pictures as latents, each with the conditioning of its texts."""

    ids: list[str]
    groups: list[str]
    """The cluster of each example."""
    latents: Tensor
    """As the pipeline denoises them, (n, ...)."""
    conditioning: Conditioning
    """One row per distinct text."""
    rows: Mapping[Role, list[int]]
    """Row of each example's text by role: true, target and, where the examples have one,
    control."""
    tokens: Mapping[str, Tensor] = field(default_factory=dict)
    """Text positions of each phrase, by its name: bool, (distinct texts, text tokens)."""

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Split:
    """Examples to measure and examples to calibrate on; no cluster is in both."""

    measured: list[Contrast]
    calibration: list[Contrast]

    def __post_init__(self) -> None:
        """Refuse examples that would be measured against means of themselves.

        Raises:
            UserError: an example, or a cluster, is in both sets.
        """
        ids = {example.id for example in self.measured}
        clusters = {example.cluster for example in self.measured}
        shared = [e for e in self.calibration if e.id in ids or e.cluster in clusters]
        if shared:
            raise UserError(
                f"{len(shared)} of {len(self.calibration)} calibration examples are of measured "
                "groups",
                where=shared[0].id,
                mend="calibrate on other examples than the measured ones",
            )


def split_groups(
    contrasts: Sequence[Contrast],
    groups: int,
    calibration_groups: int,
    seed: int,
    key: str = "localize.groups",
) -> Split:
    """Draw disjoint sets of clusters from the training examples.

    A cluster's place depends on (seed, cluster) alone, so that a longer data set or another order
    of its rows changes as little as possible.

    Args:
        contrasts: all there are.
        groups: to measure on.
        calibration_groups: to calibrate on.
        seed: of the draw.
        key: where the recipe says `groups`.

    Raises:
        UserError: there are no training examples, or too few clusters of them.
    """
    training = [example for example in contrasts if example.split == TRAINING]
    if not training:
        raise UserError("there are no training examples", mend="render or write some")
    names = sorted(
        {example.cluster for example in training},
        key=lambda name: (seed_for(seed, f"localize-group:{name}"), name),
    )
    if len(names) < groups + calibration_groups:
        raise UserError(
            f"{key} = {groups} and localize.calibration_groups = {calibration_groups} "
            f"need {groups + calibration_groups} contrast groups, the data set has {len(names)}",
            mend="lower them or add examples",
        )
    measured = set(names[:groups])
    calibration = set(names[groups : groups + calibration_groups])
    return Split(
        [example for example in training if example.cluster in measured],
        [example for example in training if example.cluster in calibration],
    )


@torch.no_grad()
def encode(denoiser: Denoiser, contrasts: Sequence[Contrast]) -> Examples:
    """Encode pictures and their texts; equal texts are encoded once.

    Raises:
        UserError: a picture cannot be read, or has another size than the first; a text is the same
            to the text encoder as its foil.
    """
    place: dict[str, int] = {}
    for example in contrasts:
        for text in example.texts.values():
            place.setdefault(text, len(place))
    conditioning = denoiser.encode_prompts(list(place))
    for example in contrasts:
        for role, text in example.texts.items():
            same = _equal(conditioning, place[text], place[example.text])
            if role != "true" and same:
                raise UserError(
                    f"the text and the {role} foil are the same to the model: {text!r}",
                    where=f"example {example.id}",
                    mend="use words that its tokenizer tells apart",
                )
    pictures = read_pictures([example.payload for example in contrasts])
    roles = contrasts[0].texts
    return Examples(
        ids=[example.id for example in contrasts],
        groups=[example.cluster for example in contrasts],
        latents=denoiser.encode_images(pictures).float(),
        conditioning=conditioning,
        rows={role: [place[example.texts[role]] for example in contrasts] for role in roles},
    )


def _equal(conditioning: Conditioning, one: int, other: int) -> bool:
    return all(torch.equal(x[one], x[other]) for x in conditioning.arguments().values())
