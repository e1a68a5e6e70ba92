"""What every model that is studied has in common, whatever it makes: pictures or text."""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import nn

from ablate2tune.models.model_config import ModelConfig


class Studied(ABC):
    """A model whose components are ablated and adapted, as `localize` sees it."""

    mean_obstacle: ClassVar[str | None] = None
    """Why mode `mean` has no meaning; None where it has one."""
    config: ModelConfig

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
