"""Activations at the sites of components: handed out as they pass, or averaged."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ablate2tune.ablation.grids import grid_told
from ablate2tune.ablation.hooks import Call, Hook, hooked
from ablate2tune.ablation.regions import items, skipped_items
from ablate2tune.ablation.sites import Site, sites_of
from ablate2tune.ablation.support.means import Means
from ablate2tune.components import discover


@torch.no_grad()
def collect_means(
    model: nn.Module,
    addresses: Sequence[str],
    run: Callable[[Means], object],
    spreads: bool = False,
    means: Means | None = None,
) -> Means:
    """Mean activations of components over calibration examples; for blocks, of what they add.

    `run` calls the model on the calibration examples; before each forward it sets `sigma_index` of
    the means that it is given. With `spreads`, the standard deviations are kept as well. They are
    kept in `means`, where these are of another kind.

    Raises:
        UserError: an address is no component, or a component was never called.
    """
    means = Means(spreads) if means is None else means
    with grid_told(model, means), recorded(model, addresses, means.add):
        run(means)
    return means


def site_keys(model: nn.Module, address: str) -> list[str]:
    """Keys of the sites that an address stands for.

    Raises:
        UserError: it is no component.
    """
    return [site.key for site in sites_of(model, discover(model), address)]


@contextmanager
def recorded(
    model: nn.Module,
    addresses: Sequence[str],
    record: Callable[[str, list[Tensor]], None],
    states: bool = False,
) -> Iterator[None]:
    """Give a site's key and its tensors to `record` at each call.

    The tensors are the whole activation at the site, (batch, ...) per stream, also where an
    address names a part of it; for a block, what it adds to each stream.

    With `states`, the streams of a block are handed out as they leave it, under `Site.state_key`.

    Raises:
        UserError: an address is no component, or on leaving, a component was never called.
    """
    catalogue = discover(model)
    sites = {site.key: site for a in addresses for site in sites_of(model, catalogue, a)}

    def recorder(site: Site) -> Hook:
        def hook(call: Call) -> None:
            tensors = items(site, call)
            if site.is_block and not states:
                pairs = zip(tensors, skipped_items(call), strict=True)
                tensors = [None if new is None else new - old for new, old in pairs]
            kept = [x.transpose(0, site.batch_axis) for x in tensors if isinstance(x, Tensor)]
            record(site.state_key if states else site.key, kept)

        return hook

    def hooks(side: str) -> list[tuple[str, Hook]]:
        return [(site.address, recorder(site)) for site in sites.values() if site.side == side]

    with hooked(model, hooks("output")), hooked(model, hooks("input"), "input"):
        yield
