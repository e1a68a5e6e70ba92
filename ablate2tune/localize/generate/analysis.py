"""Figures of each condition, and what is lost without a component, with intervals.

Judged accuracies are rates over prompts, resampled by contrast group and paired by picture; the
baseline is the later arm of `rates.difference`, so that a loss is positive. A Fréchet
distance is one figure per condition and has no interval.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ablate2tune.localize.generate.examples import Example
from ablate2tune.localize.generate.measures import FID, FRECHET_CLIP
from ablate2tune.localize.generate.sweep import GenerateSweep, Tasks
from ablate2tune.localize.measuring.condition import Condition
from ablate2tune.localize.ranking.ranking import SEEDS
from ablate2tune.statistics.clusters import Clusters
from ablate2tune.statistics.rates import Counts, Rate, difference, rate
from ablate2tune.statistics.resampling import Resampling

BASELINE = Condition()
JUDGED = ("target", "objects", "relation_given_objects")
"""Both objects in the prompt's relation; both objects; the former among the latter."""
SCORE = "clip_score"
DISTANCES = (FID, FRECHET_CLIP)


@dataclass(frozen=True)
class Loss:
    """What is lost without a component."""

    figures: dict[str, Any]
    """Baseline minus ablated, as intervals with p; of distances ablated minus baseline."""
    p: float
    """Of what the ranking goes by, for no difference; of the CLIP score where that is a distance.
    """
    critical: bool
    """Whether fewer than half the pictures that showed both objects still do."""


class Figures:
    """Figures of the conditions of one sweep."""

    def __init__(
        self, sweep: GenerateSweep, tasks: Tasks, how: Resampling, specificity: bool = False
    ):
        """Nothing is computed yet.

        Args:
            sweep: holds the rows.
            tasks: what was drawn.
            how: resampling of contrast groups and pairs.
            specificity: rank by relative target minus relative object loss.
        """
        self._sweep, self._tasks, self._how = sweep, tasks, how
        self._clusters = _clusters(tasks.scenes)
        self._groups = (
            Clusters([e.group for e in tasks.pairs], replace(how, stage=SEEDS))
            if tasks.pairs
            else None
        )
        self._specificity = specificity

    @property
    def ranked_by(self) -> str:
        """ "target" or "specificity" where a judged picture is right, else a distance's name.

        "target" where there is neither.
        """
        if not (self._right() or self._groups is None):
            return FID if FID in self._distances(BASELINE) else FRECHET_CLIP
        return "specificity" if self._specificity else "target"

    def has_skill(self) -> bool:
        """Whether the baseline has anything to lose: a right picture, or a likeness to pairs."""
        return self._groups is not None or self._right()

    def _right(self) -> bool:
        """Whether any judged picture of the baseline is right."""
        return bool(self._tasks.scenes) and bool(self._counts(BASELINE)["target"][0].any())

    def of(self, condition: Condition) -> dict[str, Any]:
        """A condition's figures: intervals, and distances as plain numbers."""
        found: dict[str, Any] = {
            name: rate(*counts, self._how).as_dict()
            for name, counts in self._counts(condition).items()
        }
        if self._groups:
            found[SCORE] = dict(self._groups.mean(self._scores(condition)))
        return found | self._distances(condition)

    def loss(self, condition: Condition) -> Loss:
        """What is lost under a condition."""
        figures: dict[str, Any] = {}
        p, critical = 1.0, False
        if self._groups:
            fall = self._scores(BASELINE) - self._scores(condition)
            p = self._groups.sign_flip_p(fall)
            figures[SCORE] = {**self._groups.mean(fall), "p": p}
            base, ablated = self._distances(BASELINE), self._distances(condition)
            figures |= {name: ablated[name] - base[name] for name in base}
        if self._tasks.scenes:
            before, after = self._counts(condition), self._counts(BASELINE)
            lost = {name: difference(before[name], after[name], self._how) for name in JUDGED}
            figures = {name: found.as_dict() for name, found in lost.items()} | figures
            figures["specificity"] = self._specific(before, after).as_dict()
            if self._right():
                p = lost["target"].p if lost["target"].p is not None else 1.0
            objects = rate(*before["objects"], self._how)
            whole = rate(*after["objects"], self._how).value or 0
            critical = objects.high is not None and objects.high < whole / 2
        return Loss(figures, p, critical)

    def order(self, loss: Loss) -> float:
        """What components are sorted by, the largest loss first."""
        figure = loss.figures[self.ranked_by]
        value = figure["value"] if isinstance(figure, dict) else figure
        return 0.0 if value is None else float(value)

    def flat(self, condition: Condition) -> float:
        """Share of pictures that are of one colour."""
        rows = [self._sweep.row(example, condition) for example in self._tasks.examples]
        return float(np.mean([row["flat"] for row in rows]))

    def _specific(self, ablated: dict[str, Counts], base: dict[str, Counts]) -> Rate:
        """Relative target minus relative object loss: what is left of objects minus of relations.

        All None where the baseline has no right picture.
        """
        weights = self._how.weights(len(base["target"][0]))
        left = {}
        for name in ("target", "objects"):
            (hits, _), (whole, _) = ablated[name], base[name]
            if not whole.sum():
                return Rate(None, None, None, 0)
            with np.errstate(invalid="ignore", divide="ignore"):
                left[name] = hits.sum() / whole.sum(), (weights @ hits) / (weights @ whole)
        value, resampled = (
            objects - target
            for objects, target in zip(left["objects"], left["target"], strict=True)
        )
        low, high = self._how.bounds(np.asarray(resampled))
        return Rate(float(value), low, high, int(base["target"][1].sum()))

    def _counts(self, condition: Condition) -> dict[str, Counts]:
        """Hits and trials per contrast group, by figure; empty without scenes."""
        if not self._tasks.scenes:
            return {}
        rows = [self._sweep.row(example, condition) for example in self._tasks.scenes]
        target, objects = (
            self._clusters.T @ np.array([row[name] for row in rows], float)
            for name in ("target", "objects")
        )
        trials = self._clusters.sum(0)
        return {
            "target": (target, trials),
            "objects": (objects, trials),
            "relation_given_objects": (target, objects),
        }

    def _scores(self, condition: Condition) -> np.ndarray:
        return np.array(
            [self._sweep.row(example, condition)[SCORE] for example in self._tasks.pairs]
        )

    def _distances(self, condition: Condition) -> dict[str, float]:
        if not self._tasks.pairs:
            return {}
        row = self._sweep.distances[condition]
        return {name: row[name] for name in DISTANCES if name in row}


def _clusters(examples: Sequence[Example]) -> np.ndarray:
    """Which contrast group each example is of: (examples, groups), 1 or 0."""
    names, index = np.unique([example.group for example in examples], return_inverse=True)
    return np.eye(len(names))[index]
