"""What can be ablated and adapted: discovery from structure, addresses, LoRA targets."""

from ablate2tune.components.addresses import select
from ablate2tune.components.catalogue import Catalogue, Component, heads_of
from ablate2tune.components.discovery import discover

__all__ = ["Catalogue", "Component", "discover", "heads_of", "select"]
