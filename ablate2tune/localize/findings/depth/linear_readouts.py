"""Linear readouts for many features and few examples: a ridge classifier with a control.

Least squares on answers of 1 and -1 with a ridge penalty (Hoerl & Kennard 1970), in closed form, so
that the shuffled answers of the control cost next to nothing.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ablate2tune.localize.findings.information import CHANCE, decidable, group_folds
from ablate2tune.seeding import numpy_generator
from ablate2tune.statistics.clusters import Clusters, Interval

PENALTIES = (10.0, 1.0, 0.1, 0.01)
"""Weights of the ridge on standardised features, per training example; the strongest first."""
DEFAULT_PENALTY = 1.0
"""Where there are no calibration examples to choose on."""
SHUFFLES = 20


class Task(NamedTuple):
    """What is read, of the measured or of the calibration examples."""

    x: np.ndarray
    """(n, features)."""
    y: np.ndarray
    """Answers to each question, 1 and -1, (n, questions)."""
    groups: Sequence[str]


class Reading(NamedTuple):
    """How well a question can be answered from some features."""

    accuracy: Interval
    """Cross-validated."""
    shuffled: dict[str, float]
    """The same with shuffled answers: `mean` over the shuffles and the `highest`."""
    decidable: bool = True
    """Whether there are enough groups that a readout which is always right is told from chance."""

    @property
    def above_chance(self) -> bool:
        """Whether the interval lies above chance and the accuracy above every shuffled one."""
        above = self.accuracy["low"] > CHANCE and self.decidable
        return above and self.accuracy["value"] > self.shuffled["highest"]

    def as_dict(self) -> dict[str, Any]:
        """As in `information.json`."""
        return {**self._asdict(), "above_chance": self.above_chance}


def read_out(
    measured: Task, calibration: Task | None, clusters: Clusters, seed: int
) -> list[Reading]:
    """Cross-validated accuracy by contrast group, and that of shuffled answers, per question.

    Every measured example is predicted by a fit on the other folds' measured examples. The penalty
    is the one whose fit does best on the calibration examples, which are never evaluated. Shuffled
    answers have the sign of whole groups drawn at random: they keep what the examples of a group
    have in common, and no direction can tell them between groups.

    Args:
        measured: what is predicted.
        calibration: what the penalty is chosen on; None takes `DEFAULT_PENALTY`.
        clusters: resampling of the measured examples' groups.
        seed: of folds and shuffles.
    """
    y = _with_shuffled(measured, seed, "measured")
    tuning = None
    if calibration is not None:
        tuning = calibration.x, _with_shuffled(calibration, seed, "calibration")
    predicted = np.zeros_like(y)
    fold = group_folds(measured.groups, seed)
    for held_out in range(fold.max() + 1):
        test = fold == held_out
        predicted[test] = ridge_scores(measured.x[~test], y[~test], measured.x[test], tuning)
    correct = (predicted > 0) == (y > 0)
    readings = []
    for own in np.split(correct, measured.y.shape[1], axis=1):
        rates = own[:, 1:].mean(0)
        shuffled = {"mean": float(rates.mean()), "highest": float(rates.max())}
        readings.append(Reading(clusters.accuracy(own[:, 0]), shuffled, decidable(clusters)))
    return readings


def ridge_scores(
    x: np.ndarray,
    y: np.ndarray,
    asked: np.ndarray,
    tuning: tuple[np.ndarray, np.ndarray] | None,
    penalties: Sequence[float] = PENALTIES,
) -> np.ndarray:
    """Scores of ridge classifiers, one for each column of answers: (rows asked, columns).

    Minimises |y - b - xw|^2 / n + penalty * |w|^2 over features standardised on the training rows.

    Args:
        x: training features, (n, features).
        y: their answers, 1 and -1, (n, columns).
        asked: features to score, (rows, features).
        tuning: features and answers on which each column's penalty is chosen, the strongest of the
            best.
        penalties: to choose from, the strongest first.
    """
    mean, spread = x.mean(0), x.std(0)
    spread = np.where(spread > 1e-8 * (1 + np.abs(mean)), spread, np.inf)
    scaled = ((x - mean) / spread).astype(np.float64)
    values, vectors = np.linalg.eigh(scaled.T @ scaled / len(x))
    bias = y.mean(0)
    target = vectors.T @ (scaled.T @ (y - bias)) / len(x)

    def scores(rows: np.ndarray, penalty: float) -> np.ndarray:
        weights = vectors @ (target / (np.maximum(values, 0) + penalty)[:, None])
        return ((rows - mean) / spread) @ weights + bias

    if tuning is None:
        return scores(asked, DEFAULT_PENALTY)
    right = [((scores(tuning[0], p) > 0) == (tuning[1] > 0)).mean(0) for p in penalties]
    best = np.argmax(right, axis=0)
    return np.choose(best, [scores(asked, penalty) for penalty in penalties])


def _with_shuffled(task: Task, seed: int, purpose: str) -> np.ndarray:
    """For each question the answers and `SHUFFLES` shuffled ones, (n, questions * columns)."""
    names, index = np.unique(np.asarray(task.groups), return_inverse=True)
    draw = numpy_generator(seed, f"depth-shuffle-{purpose}", len(names))
    signs = draw.integers(0, 2, (len(names), SHUFFLES)) * 2 - 1
    signs = np.concatenate([np.ones((len(task.y), 1)), signs[index]], axis=1)
    return np.concatenate([y[:, None] * signs for y in task.y.T], axis=1)
