"""Means over all examples from components that were measured on a part of them.

The regression estimator of survey sampling (Cochran 1977, chapter 7): what is cheap is known of
every example (the baseline's margin, a gradient estimate), what is dear only of a sample. A linear
fit carries the cheap figures over, and the sample's residuals correct it, so that a poor fit costs
precision, not truth. With every example measured the estimate is the plain mean.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

RIDGE = 2.0
"""Weight of the slopes' penalty, in observations, on standardised covariates."""
MIN_PER_COVARIATE = 8
"""Measured examples per covariate under which no slope is fitted."""


class Carried(NamedTuple):
    """What cheap figures predict of a dear one."""

    values: np.ndarray
    """For every example, (n,). Only differences between examples matter."""
    slopes: int = 0
    """How many were fitted: so many degrees of freedom fewer are left."""

    @property
    def relative(self) -> np.ndarray:
        """Around their mean, so that taking them away leaves the mean over all examples."""
        return self.values - self.values.mean()


def carried_over(
    values: np.ndarray, measured: np.ndarray, covariates: Sequence[np.ndarray]
) -> Carried:
    """The part of `values` that cheap figures predict.

    Zero where everything was measured or too little was; `Clusters.estimated_mean` adds the mean
    residual of the measured ones.

    Args:
        values: the dear figure, (n,); only the measured ones are read.
        measured: which were measured, bool (n,).
        covariates: cheap figures, (n,) each.
    """
    sample = int(measured.sum())
    usable = [x for x in covariates if np.isfinite(x).all() and x.std() > 0]
    usable = usable[: sample // MIN_PER_COVARIATE]
    if measured.all() or not usable:
        return Carried(np.zeros(len(values)))
    x = np.stack([(x - x.mean()) / x.std() for x in usable], axis=1)
    inside = x[measured] - x[measured].mean(0)
    y = values[measured] - values[measured].mean()
    slopes = np.linalg.solve(inside.T @ inside + RIDGE * np.eye(x.shape[1]), inside.T @ y)
    return Carried(x @ slopes, len(usable))
