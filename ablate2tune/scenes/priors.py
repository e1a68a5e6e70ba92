"""Can the relation be guessed without looking at where the objects stand?

Two baselines guess which of a group's two relations a scene shows: one from its caption without the
relation, one from the size of each object and where the two as a whole lie in the frame. A balanced
set leaves the first at chance; the second keeps what perspective gives away (nearer is larger).
"""

from collections import Counter, defaultdict
from typing import NamedTuple

import numpy as np

from ablate2tune.scenes.dataset import SceneRecord

FOLDS = 5
BINS = 3
"""Bins per measurement of the layout baseline."""


class PriorCheck(NamedTuple):
    """Accuracy of the baselines on scenes they were not fitted to, and of guessing."""

    caption: float
    layout: float
    chance: float
    scenes: int


def prior_check(records: list[SceneRecord]) -> PriorCheck:
    """Cross-validated accuracy of both baselines; twins stay in one fold.

    Raises:
        UserError: a sidecar is missing or damaged.
    """
    groups = sorted({record.group_id for record in records})
    fold = {group: number % FOLDS for number, group in enumerate(groups)}
    pairs = _pairs(records)
    words = [_words(record) for record in records]
    layouts = _layouts(records)
    return PriorCheck(
        _accuracy(words, pairs, records, fold),
        _accuracy(layouts, pairs, records, fold),
        0.5,
        len(records),
    )


def _pairs(records: list[SceneRecord]) -> list[tuple[str, str]]:
    """The relations of each scene's group, sorted."""
    shown = defaultdict(set)
    for record in records:
        shown[record.group_id].add(record.relation)
    return [tuple(sorted(shown[r.group_id])) for r in records]  # pyright: ignore[reportReturnType]


def _words(record: SceneRecord) -> list[str]:
    return [
        f"subject {record.subject}", f"object {record.object}",
        f"subject {record.subject_colour}", f"object {record.object_colour}",
        f"pair {record.subject} {record.object}",
    ]  # fmt: skip


def _layouts(records: list[SceneRecord]) -> list[list[str]]:
    rows = []
    for record in records:
        note = record.sidecar()
        row = []
        for role in ("subject", "object"):
            left, top, right, bottom = note["objects"][role]["box"]
            row.append((right - left) * (bottom - top))
        left, top, right, bottom = (
            f(note["objects"][role]["box"][k] for role in ("subject", "object"))
            for k, f in ((0, min), (1, min), (2, max), (3, max))
        )
        rows.append([*row, left, top, right, bottom])
    values = np.array(rows)
    edges = np.quantile(values, np.linspace(0, 1, BINS + 1)[1:-1], axis=0)
    binned = (values[:, None, :] > edges[None]).sum(axis=1)
    return [[f"{k} {v}" for k, v in enumerate(row)] for row in binned]


def _accuracy(
    features: list[list[str]],
    pairs: list[tuple[str, str]],
    records: list[SceneRecord],
    fold: dict[str, int],
) -> float:
    """Naive Bayes between the two relations of the group; a tie counts one half."""
    scores, counted = 0.0, 0
    for held in range(FOLDS):
        counts: dict[tuple[tuple[str, str], str], Counter[str]] = defaultdict(Counter)
        totals: Counter[tuple[tuple[str, str], str]] = Counter()
        for words, pair, record in zip(features, pairs, records, strict=True):
            if fold[record.group_id] != held:
                counts[pair, record.relation].update(words)
                totals[pair, record.relation] += 1
        for words, pair, record in zip(features, pairs, records, strict=True):
            if fold[record.group_id] != held or pair[0] == pair[-1]:
                continue
            logs = []
            for relation in pair:
                seen, total = counts[pair, relation], totals[pair, relation]
                logs.append(sum(np.log((seen[w] + 1) / (total + 2)) for w in words))
            right = logs[pair.index(record.relation)]
            wrong = logs[1 - pair.index(record.relation)]
            scores += 0.5 if np.isclose(right, wrong) else float(right > wrong)
            counted += 1
    return scores / counted if counted else 0.5
