"""A sweep by a figure of one's own: what a model loses without each of its components.

>>> table = sweep(model, lambda: accuracy_of_each(model, pictures))  # doctest: +SKIP
>>> print(table)  # doctest: +SKIP
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from ablate2tune.ablation import MODES, Ablation, Support, ablated
from ablate2tune.components import Component, discover, heads_of
from ablate2tune.components.catalogue import Level
from ablate2tune.components.heads import Heads
from ablate2tune.errors import UserError
from ablate2tune.statistics.clusters import Clusters, Interval
from ablate2tune.statistics.resampling import Resampling, check_resamples, corrected

Metric = Callable[[], Any]
"""Runs the model over one's examples as it now is: one number for each, (n,)."""


@dataclass(frozen=True)
class Lost:
    """What is lost without one component."""

    address: str
    mode: str
    value: Interval
    """The figure without it."""
    lost: Interval
    """What is lost of the figure, paired by example."""
    p: float
    """That nothing is lost on average; corrected over all components of the sweep."""


@dataclass(frozen=True)
class Table:
    """A sweep, what matters most first."""

    baseline: Interval
    rows: list[Lost]
    left_out: dict[str, str]
    """Components that could not be ablated, with the reason."""

    def __str__(self) -> str:
        width = max([len(row.address) for row in self.rows], default=0)
        lines = [f"{'(baseline)':{width}s} {self.baseline['value']:10.4g}"]
        for row in self.rows:
            low, high = row.lost["low"], row.lost["high"]
            lines.append(
                f"{row.address:{width}s} {row.value['value']:10.4g}  lost "
                f"{row.lost['value']:.4g} [{low:.4g}, {high:.4g}]  p {row.p:.2g}"
            )
        return "\n".join(lines)


def sweep(
    model: nn.Module,
    metric: Metric,
    level: Level = "block",
    mode: str = "zero",
    higher_is_better: bool = True,
    groups: Sequence[Any] | None = None,
    support: Support | None = None,
    seed: int = 0,
    bootstrap: int = 2000,
    confidence: float = 0.95,
) -> Table:
    """Measure a model without each component of one level, and rank these by what is lost.

    Args:
        model: any module with a stack of attention blocks, as `discover` finds them.
        metric: called once as the model is, and once under each ablation.
        level: block, sublayer, head or projection.
        mode: of parts of blocks; blocks get what it declares for them (`skip` for zero).
        higher_is_better: of the figure.
        groups: what each example is resampled with; each alone by default.
        support: what the mode needs, such as means.
        seed: of the resampling.
        bootstrap: resamples.
        confidence: mass of the intervals.

    Raises:
        UserError: nothing can be found in the model, the metric does not give one finite number an
            example, or there are fewer than two groups.
        ValueError: so few resamples draw no interval of this confidence.
    """
    check_resamples(bootstrap, confidence)
    used = MODES[mode].block_mode if level == "block" else mode
    whole = _measured(metric, None)
    names = range(len(whole)) if groups is None else groups
    clusters = Clusters([str(name) for name in names], Resampling(seed, bootstrap, confidence))
    found: list[tuple[str, np.ndarray]] = []
    left_out: dict[str, str] = {}
    for component in _of_level(model, level, left_out):
        try:
            with ablated(model, [Ablation(component.address, used)], support):
                found.append((component.address, _measured(metric, len(whole))))
        except UserError as error:
            left_out[component.address] = error.what
    sign = 1 if higher_is_better else -1
    lost = [sign * (whole - values) for _, values in found]
    p = corrected([clusters.sign_flip_p(values) for values in lost])
    rows = [
        Lost(address, used, clusters.mean(values), clusters.mean(own), each)
        for (address, values), own, each in zip(found, lost, p, strict=True)
    ]
    rows.sort(key=lambda row: (-row.lost["value"], row.address))
    return Table(clusters.mean(whole), rows, left_out)


def _of_level(model: nn.Module, level: Level, left_out: dict[str, str]) -> list[Component]:
    catalogue = discover(model)
    if level != "head":
        return [component for component in catalogue if component.level == level]
    for part in catalogue:
        if isinstance(part.heads, str):
            left_out[part.address] = part.heads
    return [head for part in catalogue if isinstance(part.heads, Heads) for head in heads_of(part)]


def _measured(metric: Metric, count: int | None) -> np.ndarray:
    values = metric()
    values = np.asarray(values.detach().cpu() if hasattr(values, "detach") else values, float)
    if values.ndim != 1 or (count is not None and len(values) != count):
        raise UserError(
            f"the metric gives {values.shape}, not one number for each example",
            where="metric",
            mend="return an array of shape (examples,), always of the same examples",
        )
    if not np.isfinite(values).all():
        raise UserError("the metric is not finite", where="metric")
    return values
