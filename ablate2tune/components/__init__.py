"""What can be ablated and adapted: discovery from structure, addresses, LoRA targets."""

from ablate2tune.components.addresses import select
from ablate2tune.components.catalogue import Catalogue, Component, lora_targets
from ablate2tune.components.discovery import discover

__all__ = ["Catalogue", "Component", "discover", "lora_targets", "select"]
