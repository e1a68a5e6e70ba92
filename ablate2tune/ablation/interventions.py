"""The ablation engine: context managers on native hooks.

>>> with ablated(model, [Ablation("transformer_blocks.3", "skip")]):  # doctest: +SKIP
...     loss = run(model)
>>> with ablated_rows(model, [[], [first], [first, second]]):  # doctest: +SKIP
...     losses = run(model, three_copies_of_the_batch)
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ablate2tune.ablation.edits import Ablation, Edit
from ablate2tune.ablation.grids import grid_told
from ablate2tune.ablation.hooks import Call, Hook, refuse_silence, register
from ablate2tune.ablation.mode import MODES
from ablate2tune.ablation.sites import Site, sites_of
from ablate2tune.ablation.support.support import Support
from ablate2tune.components import Catalogue, discover
from ablate2tune.errors import UserError


def ablated(
    model: nn.Module, ablations: Sequence[Ablation], support: Support | None = None
) -> AbstractContextManager[dict[str, int]]:
    """Ablate several components at once; on exit the model is as before, bit for bit.

    Contexts nest. Where two touch one component, the inner one decides. `support` holds what modes
    and addresses need, such as calibrated means. Yields how often each address fired so far.

    Raises:
        UserError: an address is no component or comes twice, a mode does not fit it or lacks what
            it needs, or on leaving, a hook never fired, so that the ablation did nothing.
    """
    return ablated_rows(model, [ablations], support)


@contextmanager
def ablated_rows(
    model: nn.Module,
    conditions: Sequence[Sequence[Ablation]],
    support: Support | None = None,
    catalogue: Catalogue | None = None,
) -> Iterator[dict[str, int]]:
    """Ablate differently in each part of the batch: n conditions, n equal runs of rows.

    One forward over n copies of a batch then measures n conditions; an empty condition is the
    baseline. The result agrees with that of single conditions up to rounding. Partners, token
    masks and means are those of one copy. The catalogue is the model's, where it is known; found
    anew by default. Yields how often each address fired so far.

    Raises:
        UserError: as for `ablated`, or a batch is not a multiple of the number of conditions.
    """
    support = support or Support()
    catalogue = catalogue or discover(model)
    edits: list[Edit] = []
    for place, condition in enumerate(conditions):
        seen: set[str] = set()
        for ablation in condition:
            if ablation.address in seen:
                raise UserError(
                    "the address comes twice", where=ablation.address, mend="name it once"
                )
            seen.add(ablation.address)
            sites = _sites(model, catalogue, ablation)
            check_mode(catalogue, ablation, support)
            edits += [Edit(site, ablation, support, place, len(conditions)) for site in sites]
    firings = {edit.ablation.address: 0 for edit in edits}

    def counted(edit: Edit) -> Hook:
        address = edit.ablation.address

        def hook(call: Call) -> Any:
            result = edit(call)
            firings[address] = min(e.fired for e in edits if e.ablation.address == address)
            return result

        return hook

    with ExitStack() as stack:
        if support.means is not None:
            stack.enter_context(grid_told(model, support.means))
        stack.enter_context(_late_backward_refused(model))
        for edit in edits:
            site = edit.site
            if site.block is not None:
                before = model.get_submodule(site.block).register_forward_pre_hook
                stack.enter_context(before(edit.note_lengths, with_kwargs=True))
            stack.enter_context(register(model, site.address, site.side, counted(edit)))
        yield firings
        refuse_silence(firings)


def _sites(model: nn.Module, catalogue: Catalogue, ablation: Ablation) -> list[Site]:
    """Where an ablation acts: at its address, or at all Linears inside."""
    address = ablation.address
    if not MODES[ablation.mode].inside or address not in catalogue:
        return sites_of(model, catalogue, address)
    names = catalogue[address].linears
    return [site for name in names for site in sites_of(model, catalogue, name)]


def check_mode(catalogue: Catalogue, ablation: Ablation, support: Support) -> None:
    """Refuse a mode that does not exist, does not fit the component or lacks what it needs.

    Raises:
        UserError: always the reason.
    """
    address, mode = ablation.address, MODES[ablation.mode]
    component = catalogue[address.partition("@")[0].partition("[")[0]]
    if component.obstacle and component.level == "block":
        raise UserError(f"it cannot be ablated: {component.obstacle}", where=address)
    part = "[" in address
    if ("[features=" in address) != ("features" in mode.needs):
        raise UserError(
            f"mode {ablation.mode!r} does not fit here",
            where=address,
            mend="features of a sparse autoencoder have mode feature, and nothing else has",
        )
    if "[experts=" in address and not mode.experts:
        raise UserError(
            f"mode {ablation.mode!r} does not fit experts", where=address, mend="use mode zero"
        )
    if ("head" if part else component.level) not in mode.levels:
        what = "part of a tensor" if part else component.level
        raise UserError(
            f"mode {ablation.mode!r} does not fit a {what}",
            where=address,
            mend=f"it acts on levels {', '.join(mode.levels)}",
        )
    uncalibrated, seedless = support.means is None, not support.row_seeds
    # Activations of other runs are missed later, by the sites that they are for.
    for lacking, need, what, mend in (
        (address not in support.directions, "directions", "a direction", "call learn_directions"),
        (
            component.address not in support.features,
            "features",
            "a sparse autoencoder",
            "pass Support(features={block: load_features(...)})",
        ),
        (uncalibrated, "means", "calibrated means", "call collect_means"),
        (seedless, "row_seeds", "a seed for each row", "pass Support(row_seeds=...)"),
        (uncalibrated, "spreads", "calibrated spreads", "call collect_means with spreads=True"),
    ):
        if lacking and need in mode.needs:
            raise UserError(f"mode {ablation.mode!r} needs {what}", where=address, mend=mend)


@contextmanager
def _late_backward_refused(model: nn.Module) -> Iterator[None]:
    """Refuse, under gradient checkpointing, a backward pass after the ablation was taken off.

    The blocks would be computed again without it, and the gradients would be wrong.
    """
    left = False

    def refuse(gradient: Tensor) -> None:
        if left:
            raise UserError(
                "gradient checkpointing computes the blocks again, now without the ablation",
                where="backward pass",
                mend="call backward() before the ablation is left, or turn checkpointing off",
            )

    def watch(module: nn.Module, args: tuple, output: Any) -> None:
        if not torch.is_grad_enabled():
            return
        if any(getattr(part, "gradient_checkpointing", False) for part in module.modules()):
            values = output.values() if isinstance(output, Mapping) else output
            for value in [values] if isinstance(values, Tensor) else values:
                if isinstance(value, Tensor) and value.requires_grad:
                    value.register_hook(refuse)

    try:
        with model.register_forward_hook(watch):
            yield
    finally:
        left = True
