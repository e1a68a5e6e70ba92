"""Mean activations: what a component outputs on average, per position and noise level."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ablate2tune.errors import UserError

Shapes = tuple[torch.Size, ...]
"""Of one call's tensors, without the batch."""
Grid = tuple[int, ...]
"""Rows and columns of the latents that the denoiser was called with (see `grids`)."""
CALIBRATE = "calibrate at the same picture size and prompt length"


@dataclass(frozen=True)
class Moments:
    """What is known of a site's tensors, one per stream, at one noise level and shape."""

    count: int
    """Examples."""
    sums: list[Tensor]
    squares: list[Tensor]
    """Sums of squared deviations from the mean; empty where they are not kept."""

    def joined(self, other: "Moments") -> "Moments":
        """Those of both (Chan, Golub & LeVeque 1983)."""
        share = self.count * other.count / (self.count + other.count)
        both = zip(self.squares, other.squares, self.sums, other.sums, strict=False)
        squares = [
            one + two + share * (b / other.count - a / self.count).square()
            for one, two, a, b in both
        ]
        sums = [a + b for a, b in zip(self.sums, other.sums, strict=True)]
        return Moments(self.count + other.count, sums, squares)


class Means:
    """Mean activations at the sites of components, keyed by site and by the noise level.

    Whoever calls the denoiser sets `sigma_index` before each forward, both when means are
    collected and when they replace activations. With `spreads`, the standard deviations over the
    examples are kept beside them.
    """

    def __init__(self, spreads: bool = False) -> None:
        """No means yet; one noise level unless the caller says otherwise."""
        self.sigma_index = 0
        self._spreads = spreads
        self._held: dict[tuple[str, int], dict[Shapes, Moments]] = {}
        self._grids: dict[tuple[str, Shapes], Grid] = {}
        self._seen: set[tuple[str, Shapes]] = set()
        self._grid: Grid = ()

    def begin_forward(self, grid: Grid = ()) -> None:
        """Say that the denoiser is called anew, and on which grid of latents."""
        self._seen.clear()
        self._grid = grid

    def add(self, site: str, tensors: Sequence[Tensor]) -> None:
        """Take a batch into the mean: one tensor per stream, (batch, ...) each.

        A site may be called for each stream of a forward in turn (CogView4's feed-forward); the
        calls are told apart by their shapes.

        Raises:
            UserError: a site is called twice at one shape in one forward, or on two grids.
        """
        shapes = tuple(tensor.shape[1:] for tensor in tensors)
        if (site, shapes) in self._seen:
            raise UserError(
                "called twice at one shape in one forward, so it has no one mean",
                where=site,
                mend="use mode zero",
            )
        self._seen.add((site, shapes))
        self._grids.setdefault((site, shapes), self._grid)
        self._refuse_other_grid(site, shapes)
        count, wide = len(tensors[0]), [tensor.detach().float() for tensor in tensors]
        sums, squares = [x.sum(0) for x in wide], []
        if self._spreads:
            pairs = zip(wide, sums, strict=True)
            squares = [(x - total / count).square().sum(0) for x, total in pairs]
        new = Moments(count, sums, squares)
        known = self._held.setdefault((site, self.sigma_index), {})
        known[shapes] = known[shapes].joined(new) if shapes in known else new

    def mean(self, site: str, index: int, like: Tensor) -> Tensor:
        """The mean of a site's tensor number `index`, repeated over a batch of that shape.

        Raises:
            UserError: nothing was calibrated for this site and noise level, or at other shapes or
                on another grid.
        """
        moments = self._of(site, index, like)
        return (moments.sums[index] / moments.count).to(like.dtype).expand_as(like)

    def spread(self, site: str, index: int, like: Tensor) -> Tensor:
        """The standard deviation over the examples, as `mean`; float32.

        Raises:
            UserError: as for `mean`, or the spreads were not kept.
        """
        moments = self._of(site, index, like, spread=True)
        return (moments.squares[index] / moments.count).sqrt().expand_as(like)

    def _of(self, site: str, index: int, like: Tensor, spread: bool = False) -> Moments:
        known = self._held.get((site, self.sigma_index), {})
        known = {shapes: held for shapes, held in known.items() if held.squares or not spread}
        if not known:
            raise UserError(
                f"no calibrated {'spread' if spread else 'mean'} at noise level {self.sigma_index}",
                where=site,
                mend="collect means over the same addresses and noise levels",
            )
        fitting = [shapes for shapes in known if shapes[index] == like.shape[1:]]
        if not fitting:
            calibrated = " and ".join(str(tuple(shapes[index])) for shapes in known)
            raise UserError(
                f"calibrated at shape {calibrated}, used at {tuple(like.shape[1:])}",
                where=site,
                mend=CALIBRATE,
            )
        (shapes,) = fitting
        self._refuse_other_grid(site, shapes)
        return known[shapes]

    def _refuse_other_grid(self, site: str, shapes: Shapes) -> None:
        """A transposed picture has as many tokens, but each has another place."""
        taken = self._grids.get((site, shapes), ())
        if taken and self._grid and taken != self._grid:
            one, other = (" x ".join(map(str, grid)) for grid in (taken, self._grid))
            raise UserError(
                f"calibrated on a latent grid of {one}, used on {other}", where=site, mend=CALIBRATE
            )

    @property
    def sites(self) -> set[str]:
        """Keys of the sites that have means."""
        return {site for site, _ in self._held}

    @property
    def spread_sites(self) -> set[str]:
        """Keys of the sites that have spreads."""
        kept = self._held.items()
        return {site for (site, _), known in kept if any(m.squares for m in known.values())}

    def update(self, other: "Means") -> None:
        """Take over all sites of other means; where both have one, the other's counts."""
        self._held |= other._held
        self._grids |= other._grids

    def state(self, site: str) -> dict[str, Tensor]:
        """A site's means as named tensors, float32, for a file.

        "LEVEL.CALL.INDEX" is a mean, (...), "LEVEL.CALL.INDEX.variance" its spread squared where it
        was kept, "LEVEL.CALL.grid" the grid where it is known.
        """
        found: dict[str, Tensor] = {}
        for (name, level), known in self._held.items():
            for call, (shapes, held) in enumerate(known.items() if name == site else ()):
                for index, total in enumerate(held.sums):
                    found[f"{level}.{call}.{index}"] = total / held.count
                for index, total in enumerate(held.squares):
                    found[f"{level}.{call}.{index}.variance"] = total / held.count
                if grid := self._grids.get((site, shapes)):
                    found[f"{level}.{call}.grid"] = torch.tensor(grid)
        return {key: tensor.cpu().contiguous() for key, tensor in found.items()}

    def load(self, site: str, state: Mapping[str, Tensor]) -> None:
        """Take a site's means as `state` gave them.

        Raises:
            ValueError: a tensor's name is not of that form, or there is none.
        """
        if not state:
            raise ValueError("no tensors")
        plain = [name for name in state if not name.endswith((".grid", ".variance"))]
        calls: dict[tuple[int, int], list[str]] = {}
        for level, call, index in sorted(tuple(map(int, name.split("."))) for name in plain):
            calls.setdefault((level, call), []).append(f"{level}.{call}.{index}")
        for level in {level for level, _ in calls}:
            self._held[site, level] = {}
        for (level, call), names in calls.items():
            shapes = tuple(state[name].shape for name in names)
            spreads = [f"{name}.variance" for name in names if f"{name}.variance" in state]
            squares = [state[name] for name in spreads] if len(spreads) == len(names) else []
            means = [state[name] for name in names]
            self._held[site, level][shapes] = Moments(1, means, squares)
            if f"{level}.{call}.grid" in state:
                self._grids[site, shapes] = tuple(state[f"{level}.{call}.grid"].tolist())
