"""Can the relation be guessed without looking at where the objects stand to each other?

Two baselines guess which of a group's two relations a scene shows: one from its caption without the
relation, one from the size of each object in the frame and the middle of the two as a whole. A
balanced set leaves both at chance.

How far the two together extend is left out: it is no accident of a set but the relation itself (far
from is wider than near).
"""

from collections import Counter, defaultdict
from typing import NamedTuple

import numpy as np

from ablate2tune.scenes.dataset.records import SceneRecord
from ablate2tune.scenes.vocabulary import CONTRAST
from ablate2tune.seeding import numpy_generator

FOLDS = 5
BINS = 3
"""Bins per measurement of the layout baseline, of equal counts within a pair of relations."""
CHANCE = 0.5
RESAMPLES = 2000
CONFIDENCE = 0.95
LAYOUT = ("subject's size", "object's size", "place across", "place down")

Pair = tuple[str, str]


class Guess(NamedTuple):
    """A baseline's accuracy with its interval, over scenes it was not fitted to."""

    accuracy: float
    low: float
    high: float
    scenes: int

    def __str__(self) -> str:
        return f"{self.accuracy:.1%} [{self.low:.1%}, {self.high:.1%}]"


class PriorCheck(NamedTuple):
    """What both baselines reach; chance is one half.

    The intervals come from resampling whole groups (percentile bootstrap, Efron & Tibshirani 1993,
    chapter 13), whose twins are not independent.
    """

    caption: Guess
    layout: Guess
    by_relation: dict[Pair, Guess]
    """The layout baseline for each pair of relations."""
    by_feature: dict[Pair, dict[str, Guess]]
    """The same with one of the measurements `LAYOUT` alone."""

    def lines(self) -> list[str]:
        """A summary for people; the relations that are guessed come first."""
        lines = [
            "guessing between a group's two relations without looking where the objects stand, "
            f"{self.caption.scenes} scenes, {CONFIDENCE:.0%} intervals, by chance {CHANCE:.0%}:",
            f"  by the caption without the relation: {self.caption}",
            f"  by sizes and place in the frame:     {self.layout}",
        ]
        for pair, guess in sorted(self.by_relation.items(), key=lambda item: -item[1].accuracy):
            line = f"    {pair[0]} / {pair[1]}: {guess}"
            if guess.low > CHANCE:
                name, one = max(self.by_feature[pair].items(), key=lambda item: item[1].accuracy)
                line += f", most by the {name} ({one.accuracy:.1%} alone)"
            lines.append(line)
        return lines


def prior_check(records: list[SceneRecord]) -> PriorCheck:
    """Cross-validated accuracy of both baselines; twins stay in one fold.

    Groups that show one relation twice ("between") take no part.

    Raises:
        UserError: a sidecar is missing or damaged.
    """
    shown = defaultdict(set)
    for record in records:
        shown[record.group_id].add(record.relation)
    counted = [record for record in records if len(shown[record.group_id]) == 2]
    fold = {group: k % FOLDS for k, group in enumerate(sorted({r.group_id for r in counted}))}
    folds = [fold[record.group_id] for record in counted]
    pairs = [pair_of(shown[record.group_id]) for record in counted]
    groups = [record.group_id for record in counted]
    truth = [record.relation for record in counted]

    def scored(features: list[list[str]]) -> np.ndarray:
        return scores_of(features, pairs, truth, folds)

    layouts = _layouts(counted, pairs)
    layout = scored(layouts)
    alone = {name: scored([[row[k]] for row in layouts]) for k, name in enumerate(LAYOUT)}
    rows = {pair: [k for k, p in enumerate(pairs) if p == pair] for pair in sorted(set(pairs))}
    return PriorCheck(
        guess_of(scored([_words(record) for record in counted]), groups),
        guess_of(layout, groups),
        {pair: guess_of(layout, groups, at) for pair, at in rows.items()},
        {
            pair: {name: guess_of(scores, groups, at) for name, scores in alone.items()}
            for pair, at in rows.items()
        },
    )


def pair_of(relations: set[str]) -> Pair:
    """A group's two relations in the order of the vocabulary."""
    one, two = sorted(relations, key=list(CONTRAST).index)
    return one, two


def _words(record: SceneRecord) -> list[str]:
    return [
        f"subject {record.subject}", f"object {record.object}",
        f"subject {record.subject_colour}", f"object {record.object_colour}",
        f"pair {record.subject} {record.object}",
    ]  # fmt: skip


def _layouts(records: list[SceneRecord], pairs: list[Pair]) -> list[list[str]]:
    """Each scene's measurements `LAYOUT` as words: which bin of its pair of relations."""
    if not records:
        return []
    values = []
    for record in records:
        note = record.sidecar()
        boxes = np.array([note["objects"][role]["box"] for role in ("subject", "object")])
        sizes = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        middle = (boxes[:, :2].min(axis=0) + boxes[:, 2:].max(axis=0)) / 2
        values.append([*sizes, *middle])
    measured, bins = np.array(values), np.zeros((len(values), len(LAYOUT)), int)
    for pair in set(pairs):
        rows = [k for k, p in enumerate(pairs) if p == pair]
        edges = np.quantile(measured[rows], np.linspace(0, 1, BINS + 1)[1:-1], axis=0)
        bins[rows] = (measured[rows][:, None, :] > edges[None]).sum(axis=1)
    return [[f"{k} {v}" for k, v in enumerate(row)] for row in bins]


def scores_of(
    features: list[list[str]], pairs: list[Pair], truth: list[str], folds: list[int]
) -> np.ndarray:
    """Naive Bayes between the two relations of each scene's group: 1 right, 0 wrong, 1/2 a tie."""
    scores = np.zeros(len(features))
    for held in range(FOLDS):
        counts: dict[str, Counter[str]] = defaultdict(Counter)
        totals: Counter[str] = Counter()
        for words, relation, fold in zip(features, truth, folds, strict=True):
            if fold != held:
                counts[relation].update(words)
                totals[relation] += 1
        for k, (words, pair, fold) in enumerate(zip(features, pairs, folds, strict=True)):
            if fold != held:
                continue
            logs = [sum(np.log((counts[r][w] + 1) / (totals[r] + 2)) for w in words) for r in pair]
            right, wrong = logs if truth[k] == pair[0] else logs[::-1]
            scores[k] = 0.5 if np.isclose(right, wrong) else float(right > wrong)
    return scores


def guess_of(scores: np.ndarray, groups: list[str], rows: list[int] | None = None) -> Guess:
    """The mean of some rows' scores; without any, chance."""
    held: dict[str, list[float]] = defaultdict(list)
    for k in range(len(groups)) if rows is None else rows:
        held[groups[k]].append(scores[k])
    if not held:
        return Guess(CHANCE, CHANCE, CHANCE, 0)
    sums, counts = (np.array([f(v) for v in held.values()], float) for f in (sum, len))
    drawn = numpy_generator(0, "prior check", len(held)).integers(
        len(held), size=(RESAMPLES, len(held))
    )
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Guess(float(sums.sum() / counts.sum()), float(low), float(high), int(counts.sum()))
