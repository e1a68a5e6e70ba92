"""The Fréchet distance against closed forms and a general matrix root."""

import numpy as np
import pytest
from scipy import linalg

from ablate2tune.localize.generate.frechet import Gaussian, fit, frechet_distance


def gaussian(mean, covariance) -> Gaussian:
    return Gaussian(np.array(mean, float), np.array(covariance, float), 100)


def test_one_dimension():
    a, b = gaussian([1.0], [[4.0]]), gaussian([4.0], [[25.0]])
    assert frechet_distance(a, b) == pytest.approx(3**2 + (5 - 2) ** 2)
    assert frechet_distance(b, a) == pytest.approx(18)


def test_commuting_covariances_add_up_by_axis():
    turn = linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    a = gaussian([0, 0, 0], turn @ np.diag([1.0, 4.0, 9.0]) @ turn.T)
    b = gaussian([0, 2, 0], turn @ np.diag([16.0, 0.0, 9.0]) @ turn.T)
    assert frechet_distance(a, b) == pytest.approx(4 + (1 - 4) ** 2 + 2**2 + 0)


def test_against_the_matrix_root():
    rng = np.random.default_rng(1)
    a, b = (rng.normal(size=(60, 8)) @ rng.normal(size=(8, 8)) + rng.normal(size=8) for _ in "ab")
    covariances = [np.cov(x, rowvar=False) for x in (a, b)]
    root = np.real(linalg.sqrtm(covariances[0] @ covariances[1]))
    shift = a.mean(0) - b.mean(0)
    expected = shift @ shift + np.trace(covariances[0] + covariances[1] - 2 * root)
    assert frechet_distance(fit(a), fit(b)) == pytest.approx(expected, rel=1e-9)


def test_fewer_pictures_than_features():
    # The trace of the root is the nuclear norm of the product of the centred features.
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(5, 40)), rng.normal(size=(7, 40)) + 1
    centred = [(x - x.mean(0)) / np.sqrt(len(x) - 1) for x in (a, b)]
    nuclear = np.linalg.svd(centred[0] @ centred[1].T, compute_uv=False).sum()
    shift = a.mean(0) - b.mean(0)
    expected = shift @ shift + sum((x**2).sum() for x in centred) - 2 * nuclear
    assert frechet_distance(fit(a), fit(b)) == pytest.approx(expected, rel=1e-6)


def test_fit_and_itself():
    found = fit(np.array([[1, 2], [3, 6], [5, 1]]))
    np.testing.assert_allclose(found.mean, [3, 3])
    np.testing.assert_allclose(found.covariance, [[4, -1], [-1, 7]])
    moved = found._replace(mean=found.mean + np.array([3, 4]))
    assert frechet_distance(found, found) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(found, moved) == pytest.approx(25)


def test_what_has_no_covariance():
    with pytest.raises(ValueError, match="1 rows"):
        fit(np.ones((1, 3)))
    with pytest.raises(ValueError, match="not finite"):
        fit(np.array([[1.0, np.nan], [0.0, 1.0]]))
