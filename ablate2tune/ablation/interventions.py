"""The ablation engine: a context manager on native forward hooks.

>>> with ablated(model, [Ablation("transformer_blocks.3", "skip")]):  # doctest: +SKIP
...     loss = run(model)
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from ablate2tune.ablation.streams import skipped_output
from ablate2tune.components import discover
from ablate2tune.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from ablate2tune.ablation.calibration import Means

Mode = Literal["skip", "zero", "mean"]
MODES = ("skip", "zero", "mean")
Hook = Callable[[nn.Module, tuple[Any, ...], dict[str, Any], Any], Any]


@dataclass(frozen=True)
class Ablation:
    """One component and what becomes of it."""

    address: str
    """Dotted module path of a component."""
    mode: Mode
    """skip, for blocks: the block returns its inputs. zero and mean, for sub-layers and
    projections: every output tensor becomes zeros, or the mean over calibration examples."""


@contextmanager
def ablated(
    model: nn.Module, ablations: Sequence[Ablation], means: "Means | None" = None
) -> Iterator[dict[str, int]]:
    """Ablate several components at once; on exit the model is as before, bit for bit.

    Contexts nest. Where two touch one component, the inner one decides.

    Args:
        model: the denoiser.
        ablations: what to ablate, each address once.
        means: calibrated means, for mode mean.

    Yields:
        How often each address fired so far.

    Raises:
        UserError: an address is no component or comes twice, a mode does not fit it or lacks its
            means, or on leaving, a hook never fired, so that the ablation did nothing.
    """
    catalogue = discover(model)
    hooks: list[tuple[str, Hook]] = []
    for ablation in ablations:
        component = catalogue[ablation.address]
        if ablation.mode not in MODES:
            raise UserError(
                f"no such mode {ablation.mode!r}",
                where=ablation.address,
                mend=did_you_mean(ablation.mode, MODES),
            )
        if (ablation.mode == "skip") != (component.level == "block"):
            raise UserError(
                f"mode {ablation.mode!r} does not fit a {component.level}",
                where=ablation.address,
                mend="blocks are skipped, sub-layers and projections take zero or mean",
            )
        hooks.append((ablation.address, _hook(ablation, means)))
    with hooked(model, hooks) as firings:
        yield firings


@contextmanager
def hooked(model: nn.Module, hooks: Iterable[tuple[str, Hook]]) -> Iterator[dict[str, int]]:
    """Register forward hooks by address, count their firings, and take them off again.

    Raises:
        UserError: an address comes twice, or on leaving, a hook never fired.
    """
    firings: dict[str, int] = {}
    handles = []
    try:
        for address, hook in hooks:
            if address in firings:
                raise UserError("the address comes twice", where=address, mend="name it once")
            firings[address] = 0
            module = model.get_submodule(address)
            counted = _counted(address, hook, firings)
            handles.append(module.register_forward_hook(counted, with_kwargs=True))
        yield firings
        for address, count in firings.items():
            if count == 0:
                raise UserError(
                    "its hook never fired, so ablating it did nothing",
                    where=address,
                    mend="unfuse projections, do not compile the model, or leave the address out",
                )
    finally:
        for handle in handles:
            handle.remove()


def _counted(address: str, hook: Hook, firings: dict[str, int]) -> Hook:
    def counted(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any):
        firings[address] += 1
        return hook(module, args, kwargs, output)

    return counted


def _hook(ablation: Ablation, means: "Means | None") -> Hook:
    if ablation.mode == "skip":
        return skipped_output
    if ablation.mode == "zero":
        return lambda _module, _args, _kwargs, output: map_tensors(torch.zeros_like, output)
    if means is None:
        raise UserError(
            "mode 'mean' needs calibrated means", where=ablation.address, mend="call collect_means"
        )
    return lambda _module, _args, _kwargs, output: means.replace(ablation.address, output)


def map_tensors(function: Callable[[Tensor], Tensor], output: Any) -> Any:
    """Apply a function to a module's output tensor, or to each tensor of its output tuple."""
    if isinstance(output, Tensor):
        return function(output)
    return tuple(function(x) if isinstance(x, Tensor) else x for x in output)
