"""Arms: named states of the model, each with an adapter, with ablations, or as it is."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ablate2tune.ablation.interventions import Ablation, Support, ablated, check_mode
from ablate2tune.ablation.mode import check_drawn
from ablate2tune.compare.compare_config import RUN, ArmConfig
from ablate2tune.components import discover
from ablate2tune.disk.identity import identity, identity_of
from ablate2tune.errors import UserError
from ablate2tune.models import Denoiser
from ablate2tune.models.adapter_files import (
    PEFT_CONFIG,
    PEFT_WEIGHTS,
    WEIGHTS,
    AdapterNote,
    read_note,
)


@dataclass(frozen=True)
class Arm:
    """A named state of the model."""

    name: str
    adapter: Path | None = None
    """Folder of an adapter, made by `train` or by another tool."""
    ablations: tuple[Ablation, ...] = ()
    acts_above: float | None = None
    """The noise level below which the adapter is off; None: what its file says."""

    @property
    def file(self) -> Path | None:
        """The adapter's weights, as diffusers or else PEFT calls them."""
        if self.adapter is None:
            return None
        peft = self.adapter / PEFT_WEIGHTS
        return peft if peft.is_file() else self.adapter / WEIGHTS

    @property
    def note(self) -> AdapterNote | None:
        """What the adapter's file says it was trained on, if it says so."""
        return read_note(self.file) if self.file else None

    @property
    def content(self) -> dict[str, Any]:
        """What the arm does with the model, by content: of the adapter, whatever may be loaded."""
        level = {} if self.acts_above is None else {"acts_above": self.acts_above}
        return {
            "adapter": _content(self.adapter) if self.adapter else None,
            "ablate": [f"{one.address}={one.mode}" for one in self.ablations],
            **level,
        }

    def about(self) -> dict[str, Any]:
        """What it is, for the result files."""
        note = self.note
        return {
            "folder": str(self.adapter) if self.adapter else None,
            **self.content,
            "trained_on": note.model_dump(mode="json", exclude_none=True) if note else None,
        }

    @contextmanager
    def applied(self, denoiser: Denoiser) -> Iterator[None]:
        """The denoiser as this arm has it; as it was before, afterwards.

        Raises:
            UserError: the adapter or an ablation does not fit the model.
        """
        if self.adapter is not None:
            denoiser.load_adapter(self.adapter)
            if self.acts_above is not None:
                denoiser.acts_above = self.acts_above
        try:
            with ablated(denoiser.model, self.ablations):
                yield
        finally:
            if self.adapter is not None:
                denoiser.remove_adapter()


def _content(folder: Path) -> str:
    held = [folder / name for name in (WEIGHTS, PEFT_WEIGHTS, PEFT_CONFIG)]
    there = [file for file in held if file.is_file()]
    return identity(there[0]) if there == held[:1] else identity_of(there, folder)


def arms_of(config: Mapping[str, ArmConfig], own: Path) -> list[Arm]:
    """The arms of `compare.arms`; `own` is the folder of the adapter that the run itself trains."""
    return [
        Arm(
            name,
            own if settings.adapter == Path(RUN) else settings.adapter,
            tuple(_ablation(text) for text in settings.ablate),
            settings.acts_above,
        )
        for name, settings in config.items()
    ]


def check_files(arms: Sequence[Arm]) -> None:
    """Refuse arms whose adapters are not there.

    Raises:
        UserError: names the first.
    """
    for arm in arms:
        if arm.file and not arm.file.is_file():
            raise UserError(
                f"there is no adapter to compare in the arm {arm.name!r}",
                where=str(arm.file),
                mend="run `ablate2tune train` with this recipe first, or name another folder",
            )


def check_arms(denoiser: Denoiser, arms: Sequence[Arm]) -> None:
    """Refuse what does not fit the model, before any picture is made.

    Raises:
        UserError: an adapter belongs to another model, an address is no component, or a mode does
            not fit it, is not made for sampling, or needs what only `localize` has, such as means.
    """
    check_files(arms)
    catalogue = discover(denoiser.model)
    for arm in arms:
        misfit = denoiser.adapter_misfit(arm.adapter) if arm.adapter else None
        if misfit:
            raise UserError(
                misfit, where=str(arm.file), mend="use an adapter that was trained on this model"
            )
        for ablation in arm.ablations:
            check_mode(catalogue, ablation, Support())
            check_drawn(ablation.mode, ablation.address)


def doubts(
    arms: Sequence[Arm], base: str, size: tuple[int, int], own: Path, said: Mapping[str, Any]
) -> list[str]:
    """One line for each thing in which an adapter was trained otherwise than it is compared here.

    Args:
        arms: what is compared.
        base: identity of the model.
        size: width and height of the pictures.
        own: the folder of the adapter that the run itself trains.
        said: what the recipe says of its note's fields.
    """
    lines = []
    for arm in arms:
        note, unlike = arm.note, []
        if note is None:
            continue
        if note.base != base:
            unlike.append("on another base model")
        if (note.width, note.height) != size:
            here = f"the pictures are {size[0]} x {size[1]}"
            unlike.append(f"at {note.width} x {note.height} pixels, {here}")
        for field, value in said.items() if arm.adapter == own else ():
            if getattr(note, field) != value:
                unlike.append(f"with {field} {getattr(note, field)}, the recipe says {value}")
        lines += [f"warning: the adapter of arm {arm.name!r} was trained {one}" for one in unlike]
    return lines


def _ablation(text: str) -> Ablation:
    address, _, mode = text.rpartition("=")
    return Ablation(address, mode)
