"""What a pipeline's call makes of prompts, kept for when the text encoders are gone.

How a call encodes its prompts (negative ones, second encoders, templates) is written in the
pipeline. So the call itself is run as far as that, and what its `encode_prompt` gave is given to
later calls that ask for the same.
"""

import copy
import inspect
from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

Encode = Callable[..., Any]


class _EncodedError(Exception):
    """The call has its prompts."""


class KeptPrompts:
    """Results of `encode_prompt`, by all that it was asked."""

    def __init__(self, when_new: Callable[[], None]):
        """`when_new` is called before anything is encoded that is not kept."""
        self._when_new, self._held = when_new, dict[str, Any]()

    def using(self, pipe: Any) -> Any:
        """The pipeline, which encodes only what is not kept."""
        return self._with(pipe, lambda *_: None)

    def keep(self, pipe: Any, call: Callable[[Any], object]) -> None:
        """Keep what the pipeline makes of the prompts of a call, which ends there.

        Args:
            pipe: the pipeline.
            call: calls it.
        """

        def stop(*_: Any, **__: Any) -> None:
            raise _EncodedError

        running = self._with(pipe, self._held.__setitem__)
        vars(running)["prepare_latents"] = stop
        try:
            call(running)
        except _EncodedError:
            return
        raise AssertionError(f"{type(pipe).__name__} prepared no latents")

    def _with(self, pipe: Any, keep: Callable[[str, Any], None]) -> Any:
        """A copy of the pipeline with an `encode_prompt` that looks here first."""
        running = copy.copy(pipe)
        encode: Encode = type(pipe).encode_prompt.__get__(running)
        signature = inspect.signature(encode)

        def looked_up(*given: Any, **named: Any) -> Any:
            asked = signature.bind(*given, **named).arguments
            if any(isinstance(leaf, Tensor) for leaf in tree_leaves(asked)):
                return encode(*given, **named)  # embeddings that it hands back
            key = repr(sorted(asked.items()))
            if key not in self._held:
                self._when_new()
                found = encode(*given, **named)
                keep(key, tree_map(_to_host, found))
                return found
            device = asked.get("device") or running._execution_device
            return tree_map(lambda x: _fresh(x, device), self._held[key])

        vars(running)["encode_prompt"] = looked_up  # past __setattr__, which is for components
        return running


def _to_host(held: Any) -> Any:
    return held.detach().to("cpu", copy=True) if isinstance(held, Tensor) else held


def _fresh(held: Any, device: Any) -> Any:
    return held.to(device, copy=True) if isinstance(held, Tensor) else held
