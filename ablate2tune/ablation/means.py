"""Mean activations: what a component outputs on average, per position and noise level."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ablate2tune.errors import UserError

Shapes = tuple[torch.Size, ...]
"""Of one call's tensors, without the batch."""


class Means:
    """Mean activations at the sites of components, keyed by site and by the noise level.

    Whoever calls the denoiser sets `sigma_index` before each forward, both when means are
    collected and when they replace activations.
    """

    def __init__(self) -> None:
        """No means yet; one noise level unless the caller says otherwise."""
        self.sigma_index = 0
        self._sums: dict[tuple[str, int], dict[Shapes, list[Tensor]]] = {}
        self._counts: dict[tuple[str, int, Shapes], int] = {}
        self._seen: set[tuple[str, Shapes]] = set()

    def add(self, site: str, tensors: Sequence[Tensor]) -> None:
        """Take a batch into the mean: one tensor per stream, (batch, ...) each.

        A site may be called for each stream of a forward in turn (CogView4's feed-forward); the
        calls are told apart by their shapes.

        Raises:
            UserError: a site is called twice at one shape in one forward.
        """
        shapes = tuple(tensor.shape[1:] for tensor in tensors)
        if (site, shapes) in self._seen:
            raise UserError(
                "called twice at one shape in one forward, so it has no one mean",
                where=site,
                mend="use mode zero",
            )
        self._seen.add((site, shapes))
        sums = [tensor.detach().float().sum(0) for tensor in tensors]
        known = self._sums.setdefault((site, self.sigma_index), {})
        if shapes in known:
            sums = [old + new for old, new in zip(known[shapes], sums, strict=True)]
        known[shapes] = sums
        key = (site, self.sigma_index, shapes)
        self._counts[key] = self._counts.get(key, 0) + len(tensors[0])

    def begin_forward(self) -> None:
        """Say that the denoiser is called anew."""
        self._seen.clear()

    def mean(self, site: str, index: int, like: Tensor) -> Tensor:
        """The mean of a site's tensor number `index`, repeated over a batch of that shape.

        Raises:
            UserError: nothing was calibrated for this site and noise level, or at other shapes.
        """
        known = self._sums.get((site, self.sigma_index))
        if known is None:
            raise UserError(
                f"no calibrated mean at noise level {self.sigma_index}",
                where=site,
                mend="collect means over the same addresses and noise levels",
            )
        fitting = [shapes for shapes in known if shapes[index] == like.shape[1:]]
        if not fitting:
            calibrated = " and ".join(str(tuple(shapes[index])) for shapes in known)
            raise UserError(
                f"calibrated at shape {calibrated}, used at {tuple(like.shape[1:])}",
                where=site,
                mend="calibrate at the same resolution and prompt length",
            )
        (shapes,) = fitting
        mean = known[shapes][index] / self._counts[site, self.sigma_index, shapes]
        return mean.to(like.dtype).expand_as(like)

    @property
    def sites(self) -> set[str]:
        """Keys of the sites that have means."""
        return {site for site, _ in self._sums}

    def update(self, other: "Means") -> None:
        """Take over all sites of other means; where both have one, the other's counts."""
        self._sums |= other._sums
        self._counts |= other._counts

    def state(self, site: str) -> dict[str, Tensor]:
        """A site's means as named tensors, float32: "LEVEL.CALL.INDEX" to (...), for a file."""
        return {
            f"{level}.{call}.{index}": (total / self._counts[site, level, shapes])
            .cpu()
            .contiguous()
            for (name, level), known in self._sums.items()
            if name == site
            for call, (shapes, sums) in enumerate(known.items())
            for index, total in enumerate(sums)
        }

    def load(self, site: str, state: Mapping[str, Tensor]) -> None:
        """Take a site's means as `state` gave them.

        Raises:
            ValueError: a tensor's name is not of that form, or there is none.
        """
        if not state:
            raise ValueError("no tensors")
        calls: dict[tuple[int, int], list[Tensor]] = {}
        for level, call, index in sorted(tuple(map(int, name.split("."))) for name in state):
            calls.setdefault((level, call), []).append(state[f"{level}.{call}.{index}"])
        for level in {level for level, _ in calls}:
            self._sums[site, level] = {}
        for (level, _), tensors in calls.items():
            shapes = tuple(tensor.shape for tensor in tensors)
            self._sums[site, level][shapes] = tensors
            self._counts[site, level, shapes] = 1
