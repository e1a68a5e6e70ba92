"""The Fréchet distance between two sets of features, each taken for a Gaussian.

On the pool features of InceptionV3 it is FID (Heusel et al. 2017, arXiv:1706.08500); on CLIP's
image features it is another figure (Kynkäänniemi et al. 2023, arXiv:2203.06026), here frechet_clip.
"""

from typing import NamedTuple

import numpy as np


class Gaussian(NamedTuple):
    """Mean and covariance of features."""

    mean: np.ndarray
    """Float64, (features,)."""
    covariance: np.ndarray
    """Float64, (features, features); unbiased."""
    n: int
    """Pictures."""


def fit(features: np.ndarray) -> Gaussian:
    """Mean and covariance of features, (n, features).

    Raises:
        ValueError: fewer than two rows, or a value that is not finite.
    """
    if len(features) < 2:
        raise ValueError(f"{len(features)} rows have no covariance")
    if not np.isfinite(features).all():
        raise ValueError("a feature is not finite")
    wide = features.astype(np.float64)
    return Gaussian(wide.mean(0), np.atleast_2d(np.cov(wide, rowvar=False)), len(wide))


def frechet_distance(a: Gaussian, b: Gaussian) -> float:
    """|m_a - m_b|^2 + tr(A + B - 2 (A B)^(1/2)) (Dowson & Landau 1982), at least 0.

    The trace of the root is the sum of the roots of the eigenvalues of A^(1/2) B A^(1/2), which is
    symmetric: that stays exact where there are fewer pictures than features, and a general matrix
    root does not.
    """
    root = _root(a.covariance)
    eigenvalues = np.linalg.eigvalsh(root @ b.covariance @ root)
    between = np.sqrt(np.clip(eigenvalues, 0, None)).sum()
    shift = a.mean - b.mean
    distance = shift @ shift + np.trace(a.covariance) + np.trace(b.covariance) - 2 * between
    return max(0.0, float(distance))


def _root(covariance: np.ndarray) -> np.ndarray:
    """The symmetric root of a covariance."""
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
