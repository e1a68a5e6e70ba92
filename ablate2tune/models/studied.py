"""What every model that is studied has in common, whatever it makes: pictures or text."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ablate2tune.models import adapter_files
from ablate2tune.models.model_config import ModelConfig


class Studied(ABC):
    """A model whose components are ablated and adapted, as `localize` sees it."""

    mean_obstacle: ClassVar[str | None] = None
    """Why mode `mean` has no meaning; None where it has one."""
    config: ModelConfig
    acts_above: float = 0.0
    """The noise level below which an attached adapter is off (`calls.adapter_window`)."""

    @property
    @abstractmethod
    def model(self) -> nn.Module:
        """The module whose components are ablated and adapted."""

    @property
    @abstractmethod
    def parts(self) -> dict[str, nn.Module]:
        """All modules that results depend on, by name; the studied one among them."""

    @property
    def device(self) -> torch.device:
        """Where the studied module lies."""
        return next(self.model.parameters()).device

    def to(self, device: torch.device | None) -> None:
        """Move all parts to a device."""
        for part in self.parts.values():
            part.to(device)

    @property
    @abstractmethod
    def carrier(self) -> tuple[Any, str]:
        """What `adapter_files` takes: what holds the module that is adapted, and by which name."""

    def adapter_file(self, folder: Path) -> Path:
        """Where a folder holds the weights of an adapter for this model."""
        return adapter_files.adapter_file(self.carrier[0], folder)

    def save_adapter(
        self,
        folder: Path,
        note: adapter_files.AdapterNote,
        weights: Mapping[str, Tensor] | None = None,
    ) -> Path:
        """Write the adapter that the model carries, and return the file (`adapter_files.save`).

        Raises:
            UserError: the folder cannot be written.
        """
        return adapter_files.save(*self.carrier, folder, note, weights)

    def load_adapter(self, folder: Path) -> None:
        """Attach the adapter of a folder, made by `save_adapter` or by another tool.

        It acts at the noise levels that its note says.

        Raises:
            UserError: there is none, it is damaged, or it does not fit this model.
        """
        adapter_files.load(*self.carrier, folder)
        note = adapter_files.read_note(self.adapter_file(folder))
        self.acts_above = note.acts_above if note else 0.0

    def remove_adapter(self) -> None:
        """Take the adapter off again."""
        adapter_files.remove(*self.carrier)
        self.acts_above = 0.0

    def merge_adapter(self) -> None:
        """Add the attached adapter to the weights (`adapter_files.merge`)."""
        adapter_files.merge(*self.carrier)

    def adapter_misfit(self, folder: Path, base: str | None = None) -> str | None:
        """Why an adapter does not belong to this model, in one line (`adapter_files.misfit`)."""
        return adapter_files.misfit(*self.carrier, folder, base)
