"""On which grid of latents a denoiser is called, read from the arguments of the call.

A mean per position is that of a place in the picture. Packed latents do not show it: a picture and
its transpose have equally many tokens.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ablate2tune.ablation.streams import bound_arguments
from ablate2tune.ablation.support.means import Means
from ablate2tune.components.tree import without_adapter

PLACES = re.compile(r"(^|_)(img|image)_(ids|shapes|sizes)$")
"""Arguments that say where the tokens of packed latents lie."""
EXTENTS = ("num_frames", "height", "width")
"""Arguments of denoisers that are told it in numbers (LTX-Video)."""


def grid_told(model: nn.Module, means: Means) -> RemovableHandle:
    """Within it, as a context, the means are told of each forward of the model and its grid."""

    def tell(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        means.begin_forward(latent_grid(module, args, kwargs))

    return model.register_forward_pre_hook(tell, with_kwargs=True)


def latent_grid(
    model: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[int, ...]:
    """The extents of the latents: (rows, columns), with frames or layers before them if any.

    Empty where the call does not show them.
    """
    _, *given = bound_arguments(without_adapter(model), args, kwargs).items()
    latents = given[0][1] if given else None
    if isinstance(latents, Tensor) and latents.ndim > 3:
        return tuple(latents.shape[2:])
    for name, value in given:
        if value is not None and PLACES.search(name):
            return _extents(value)
    known = dict(given)
    return tuple(known[name] for name in EXTENTS if isinstance(known.get(name), int))


def _extents(places: Any) -> tuple[int, ...]:
    """Of position ids, (..., tokens, axes), or of shapes in nested lists: of the first."""
    if isinstance(places, Tensor):
        if places.ndim < 2 or not places.numel():
            return ()
        ids = places.flatten(0, -2)
        return tuple(int(extent) + 1 for extent in ids.amax(0) - ids.amin(0))
    while isinstance(places, list | tuple) and places and isinstance(places[0], list | tuple):
        places = places[0]
    return tuple(places) if all(isinstance(extent, int) for extent in places) else ()
