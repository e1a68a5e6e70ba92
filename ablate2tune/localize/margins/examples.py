"""What the probes measure on: contrast groups, drawn by seed and encoded once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ablate2tune.errors import UserError
from ablate2tune.models import Conditioning, Denoiser
from ablate2tune.scenes.dataset.records import SceneRecord, load_images
from ablate2tune.seeding import seed_for


@dataclass(frozen=True)
class Examples:
    """Images as latents, each with the conditioning of three captions."""

    ids: list[str]
    """Scene ids."""
    groups: list[str]
    """The contrast group of each scene."""
    latents: Tensor
    """As the pipeline denoises them, (n, ...)."""
    conditioning: Conditioning
    """One row per distinct caption."""
    caption: list[int]
    """Row of each scene's true caption."""
    foil: list[int]
    """Row of the caption with the opposite relation."""
    control: list[int]
    """Row of the caption with a wrong colour."""
    tokens: Mapping[str, Tensor] = field(default_factory=dict)
    """Text positions of each phrase, by its name: bool, (distinct captions, text tokens)."""

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Split:
    """Scenes to measure on and scenes to calibrate on; no contrast group is in both."""

    measured: list[SceneRecord]
    calibration: list[SceneRecord]

    def __post_init__(self) -> None:
        """Refuse scenes that would be measured against means of themselves.

        Raises:
            UserError: a scene, or a contrast group, is in both sets.
        """
        ids = {record.scene_id for record in self.measured}
        groups = {record.group_id for record in self.measured}
        shared = [r for r in self.calibration if r.scene_id in ids or r.group_id in groups]
        if shared:
            raise UserError(
                f"{len(shared)} of {len(self.calibration)} calibration scenes are of measured "
                "contrast groups",
                where=shared[0].scene_id,
                mend="calibrate on other scenes than the measured ones",
            )


def split_groups(
    records: Sequence[SceneRecord],
    groups: int,
    calibration_groups: int,
    seed: int,
    key: str = "localize.groups",
) -> Split:
    """Draw disjoint sets of contrast groups from the training scenes of a data set.

    A group's place depends on (seed, group) alone, so that a longer data set or another order of
    its rows changes as little as possible.

    Args:
        records: the data set.
        groups: to measure on.
        calibration_groups: to calibrate on.
        seed: of the draw.
        key: where the recipe says `groups`.

    Raises:
        UserError: the data set is empty or has too few training groups.
    """
    training = [record for record in records if record.split == "train"]
    if not training:
        raise UserError("the data set has no training scenes", where="records", mend="render some")
    names = sorted(
        {record.group_id for record in training},
        key=lambda name: (seed_for(seed, f"localize-group:{name}"), name),
    )
    if len(names) < groups + calibration_groups:
        raise UserError(
            f"{key} = {groups} and localize.calibration_groups = {calibration_groups} "
            f"need {groups + calibration_groups} contrast groups, the data set has {len(names)}",
            mend="lower them or render more scenes",
        )
    measured = set(names[:groups])
    calibration = set(names[groups : groups + calibration_groups])
    return Split(
        [record for record in training if record.group_id in measured],
        [record for record in training if record.group_id in calibration],
    )


@torch.no_grad()
def encode(denoiser: Denoiser, records: Sequence[SceneRecord]) -> Examples:
    """Encode scenes and their captions; equal captions are encoded once."""
    rows: dict[str, int] = {}
    for record in records:
        for text in (record.text, record.foil, record.foil_colour):
            rows.setdefault(text, len(rows))
    return Examples(
        ids=[record.scene_id for record in records],
        groups=[record.group_id for record in records],
        latents=denoiser.encode_images(load_images(list(records))).float(),
        conditioning=denoiser.encode_prompts(list(rows)),
        caption=[rows[record.text] for record in records],
        foil=[rows[record.foil] for record in records],
        control=[rows[record.foil_colour] for record in records],
    )
