"""What a preset is: modules, and who chose them."""

from typing import NamedTuple

from ablate2tune.registry import Registry


class Placement(NamedTuple):
    """Modules that an adapter is put on."""

    modules: tuple[str, ...]
    """Addresses or patterns, as for `train.modules`."""
    source: str
    """Where they come from."""


PRESETS: Registry[Placement] = Registry("placement", "ablate2tune.train.placements", "train.preset")
